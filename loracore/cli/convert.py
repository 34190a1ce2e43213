"""``loracore convert``: a LoRA file gets the names of another format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.weight_files import reader, saved_as, target_problems
from loracore.config.config import Config
from loracore.config.options import NetworkOptions, SavingOptions
from loracore.errors import Problem
from loracore.weights.options import ConvertOptions

_TABLES = (ConvertOptions,)


def _problems(config: Config) -> Iterator[Problem]:
    """Give what is wrong with the files' names."""
    source = config[NetworkOptions].network_weights
    if source is not None and not Path(source).is_file():
        yield Problem(f"there is no file '{source}'", config.place("network_weights"))
    yield from target_problems(config[ConvertOptions].save_to, [] if source is None else [source], config)


@run_command(
    needs=("arch", "network_weights", "save_to"),
    tables=_TABLES,
    read=reader(_TABLES, (NetworkOptions, SavingOptions), _problems),
)
def convert(request: Request) -> None:
    """Write a LoRA file with the names of diffusers (PEFT), or one that has those with kohya's; its path is printed.

    The file means the same in both. No weights of the base model are read; without one, the architecture's own sizes
    count.
    """
    config, options = request.config, request.config[ConvertOptions]

    from loracore.weights import converting  # brings torch: options can no longer be wrong

    output = converting.Output(Path(options.save_to or ""), saved_as(config), options.to)
    source = Path(config[NetworkOptions].network_weights or "")
    names = converting.convert(request.plugins.hook, config, source, output)
    click.echo(f"{names} names", err=True)
    click.echo(output.path)
