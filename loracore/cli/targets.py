"""``loracore targets``: every module that a run would train."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command

if TYPE_CHECKING:
    from loracore.training.assembly.target_list import TargetRow


@run_command(needs=("arch",), switches={"json": "print a JSON list of the modules"})
def targets(request: Request, *, json: bool) -> None:
    """Show every module of the network with file key, layers, shapes, rank, alpha, part and learning rate.

    Computed from configurations or file headers: no weights are read. Without a base model, an architecture that has
    standard sizes shows those.
    """
    from loracore.networks.idle_ranks import told
    from loracore.training.assembly.target_list import list_targets

    rows = list_targets(request.config, request.plugins)
    idle = [row.key for row in rows if row.idle_ranks]
    for note in (*request.notes, *([told(len(idle), len(rows), idle[0])] if idle else ())):
        click.echo(f"note: {note}", err=True)
    if json:
        click.echo(json_format.dumps([asdict(row) for row in rows], indent=1))
        return
    for row in rows:
        click.echo(_line(row))
    click.echo(_summary(rows))


def _line(row: TargetRow) -> str:
    shapes = " ".join(f"{name}{list(shape)}" for name, shape in row.tensors.items() if shape)
    layers = ",".join(row.layers)
    numbers = f"rank {row.rank} alpha {row.alpha:g} {_rate(row)}"
    return f"{row.key}  {shapes}  {numbers}  {row.part} {row.block or '-'}  {layers}"


def _rate(row: TargetRow) -> str:
    up = "" if row.up_lr is None else f" (up {row.up_lr:g})"
    return f"lr {row.lr:g}{up}" if row.lr else "not trained"


def _summary(rows: Sequence[TargetRow]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.part] = counts.get(row.part, 0) + 1
    parts = ", ".join(f"{part} {count}" for part, count in counts.items())
    return f"{len(rows)} modules ({parts})"
