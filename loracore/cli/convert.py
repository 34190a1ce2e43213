"""``loracore convert``: a LoRA file gets the names of another format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.weight_files import reader, saved_as, target_problems
from loracore.config.config import Config
from loracore.config.options import NetworkOptions
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
    read=reader(_TABLES, _problems),
)
def convert(request: Request) -> None:
    """Write a network's file with the names of diffusers (PEFT), or one that has those with kohya's.

    LoRA and DoRA mean the same in both. Other networks exist with kohya's names alone: new_rank makes the nearest LoRA
    of them, and how much of their change it keeps is told. The base model's weights are read only for changes that
    depend on them; without a base model, the architecture's own sizes count. The file's path is printed.
    """
    config, options = request.config, request.config[ConvertOptions]

    from loracore.weights.convert import converting  # brings torch: options can no longer be wrong

    output = converting.Output(Path(options.save_to or ""), saved_as(config), options.to, options.new_rank)
    source = Path(config[NetworkOptions].network_weights or "")
    found = converting.convert(request.plugins.hook, config, source, output)
    for line in (f"{found.names} names", *(found.shares.lines() if found.shares.whole else ())):
        click.echo(line, err=True)
    click.echo(output.path)
