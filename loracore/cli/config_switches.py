"""``--print_config`` and ``--output_config`` of run commands: what the words mean, as a configuration file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import click

from loracore.cli.choice import Tables, flags_choice, plugin_options
from loracore.cli.request import read_request
from loracore.config.flags import read_flags
from loracore.config.options import SavingOptions
from loracore.config.written import config_text
from loracore.errors import ConfigError, LoracoreError
from loracore.weights.whole_file import whole_file

PRINT, OUTPUT = "print_config", "output_config"

#: The switches with their help.
CONFIG_SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        PRINT: "print the options that differ from their defaults as a configuration file, and stop",
        OUTPUT: "write the options of the command line to CONFIG, which is not read, and stop",
    }
)


def show_config(words: Sequence[str], tables: Tables = ()) -> None:
    """Print the configuration that flags and CONFIG make; notes go to stderr.

    Raises ConfigError for options that are wrong. Nothing has to be given: half a configuration is one.
    """
    request = read_request(words, tables=tables)
    for note in request.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(config_text(request.config, request.document), nl=False)


def write_config(words: Sequence[str], tables: Tables = ()) -> None:
    """Write the options of the flags to the file that CONFIG names, and print its path.

    Raises ConfigError for options that are wrong, or without a name; LoracoreError when the file exists, unless
    ``overwrite`` is given, or cannot be written.
    """
    name = read_flags(words, plugin_options(flags_choice(words, tables), tables).options).config
    if name is None:
        message, fix = "output_config needs the name of a file", "write it first: CONFIG, or --config_file CONFIG"
        raise ConfigError(message, where=f"--{OUTPUT}", fix=fix)
    request = read_request(words, tables=tables, opens_config=False)
    path = Path(name if name.endswith(".toml") else f"{name}.toml")
    if path.exists() and not request.config[SavingOptions].overwrite:
        raise LoracoreError("this file exists already", where=str(path), fix="give --overwrite, or another name")
    comment = f"loracore {version('loracore')}: the options that differ from their defaults"
    text = config_text(request.config, None, [comment], leave_out={"overwrite"})  # it was said of this file
    with whole_file(path, "give another name") as file:
        file.write(text.encode("utf-8"))
    click.echo(path)
