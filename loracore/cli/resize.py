"""``loracore resize``: a LoRA file gets smaller ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.weight_files import reader, saved_as, target_problems
from loracore.config.config import Config
from loracore.config.options import NetworkOptions
from loracore.errors import Problem, printable
from loracore.weights.options import ResizeOptions

if TYPE_CHECKING:
    from loracore.weights.resize.resizing import Resized

_TABLES = (ResizeOptions,)


def _problems(config: Config) -> Iterator[Problem]:
    """Give what is wrong with the files' names and the rule of the ranks."""
    source = config[NetworkOptions].network_weights
    if source is not None and not Path(source).is_file():
        yield Problem(f"there is no file '{source}'", config.place("network_weights"))
    yield from target_problems(config[ResizeOptions].save_to, [] if source is None else [source], config)
    method, parameter = config[ResizeOptions].dynamic_method, config[ResizeOptions].dynamic_param
    if method is None and parameter is not None:
        yield Problem("without effect: no dynamic_method is given", config.place("dynamic_param"), "add it")
    elif method is not None and parameter is None:
        yield Problem(f"{method} needs a number", config.place("dynamic_method"), "add dynamic_param")
    elif parameter is not None and method == "sv_ratio" and not (1 < parameter < math.inf):
        message = f"{parameter:g} is no ratio of the largest singular value to the smallest that is kept"
        yield Problem(message, config.place("dynamic_param"), "give a number above 1")
    elif parameter is not None and method != "sv_ratio" and not (0 < parameter <= 1):
        message = f"{parameter:g} is no share of the singular values"
        yield Problem(message, config.place("dynamic_param"), "give a number above 0 and at most 1")


@run_command(
    needs=("network_weights", "save_to", "new_rank"),
    tables=_TABLES,
    read=reader(_TABLES, _problems),
)
def resize(request: Request) -> None:
    """Write a LoRA file with smaller ranks, those that keep most of each module's change; its path is printed.

    Ranks are --new_rank, or with --dynamic_method what each module needs, at most --new_rank. Modules are never given
    a higher rank than they have. No --arch is needed. alpha / rank stays as it is.
    """
    config, options = request.config, request.config[ResizeOptions]

    from loracore.weights.resize import resizing  # brings torch: options can no longer be wrong
    from loracore.weights.resize.new_ranks import Dynamic, NewRanks

    method, parameter = options.dynamic_method, options.dynamic_param
    dynamic = None if method is None or parameter is None else Dynamic(method, parameter)
    rank = options.new_rank or 1
    ranks = NewRanks(rank, options.new_conv_rank or rank, dynamic)
    output = resizing.Output(Path(options.save_to or ""), saved_as(config))
    source = Path(config[NetworkOptions].network_weights or "")
    for line in _report(resizing.resize(source, output, ranks)):
        click.echo(line, err=True)
    click.echo(output.path)


def _report(modules: Sequence[Resized]) -> Iterator[str]:
    """Give what became of each part, of the module that lost most, and of those that stay as they are."""
    parts = dict.fromkeys(one.module.part for one in modules)
    for part in parts:
        yield f"{printable(part) or 'network'}: {_summary([one for one in modules if one.module.part == part])}"
    if len(parts) > 1:
        yield f"all: {_summary(modules)}"
    worst = min(modules, key=lambda one: one.kept)
    if worst.kept < 1:
        ranks = f"rank {worst.old_rank} to {worst.rank}"
        yield f"lost most: {printable(worst.module.name)}, {ranks}, {_percent(worst.kept)} of its norm kept"
    same = sum(one.rank == one.old_rank for one in modules)
    if same:
        yield f"{same} modules keep their rank: the new one is not smaller"
    if any(one.module.kind == "DoRA" for one in modules):
        yield "note: the magnitudes of DoRA are kept; what is told of norms is about the low-rank change"


def _summary(modules: Sequence[Resized]) -> str:
    old = sum(one.old_rank for one in modules) / len(modules)
    new = sum(one.rank for one in modules) / len(modules)
    whole = math.hypot(*(one.norm for one in modules))
    kept = math.hypot(*(one.norm * one.kept for one in modules)) / whole if whole else 1.0
    return f"{len(modules)} modules, mean rank {old:.1f} to {new:.1f}, {_percent(kept)} of the norm kept"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
