"""``loracore merge``: trained networks go into their base model, or into one file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.weight_files import reader, saved_as, target_problems
from loracore.config.config import Config
from loracore.config.options import ModelOptions, PluginOptions
from loracore.errors import Problem, printable
from loracore.weights.options import MergeOptions

_TABLES = (MergeOptions,)


def _problems(config: Config) -> Iterator[Problem]:
    """Give what is wrong with the files and their ratios."""
    options = config[MergeOptions]
    for name in options.models:
        if not Path(name).is_file():
            yield Problem(f"there is no file '{name}'", config.place("models"))
    if len(options.ratios) > 1 and len(options.ratios) != len(options.models):
        message = f"{len(options.ratios)} ratios for {len(options.models)} files"
        yield Problem(message, config.place("ratios"), "give one for all, or one each")
    for ratio in options.ratios:
        if not math.isfinite(ratio):
            yield Problem(f"{ratio} is no strength", config.place("ratios"), "give finite numbers")
    base = config[ModelOptions].pretrained_model_name_or_path
    yield from _method_problems(config)
    inputs = [*options.models, *([] if base is None else [base])]
    yield from target_problems(options.save_to, inputs, config)


def _method_problems(config: Config) -> Iterator[Problem]:
    """Give what contradicts itself of how files are merged, with a base model or without."""
    options, ranks = config[MergeOptions], [name for name in ("new_rank", "new_conv_rank") if config.given(name)]
    if config[ModelOptions].pretrained_model_name_or_path is not None:
        if config[PluginOptions].arch is None:
            yield Problem("the architecture of the base model is missing", fix="give --arch NAME")
        for name in ("method", *ranks) if config.given("method") else ranks:
            message = f"{name} is for networks that are merged into one file, not into a base model"
            yield Problem(message, config.place(name), f"leave out {name}, or pretrained_model_name_or_path")
    elif options.method == "concat":
        for name in ranks:
            yield Problem(f"concat keeps every rank: {name} is for svd", config.place(name), "give --method svd")
    elif options.new_rank is None:
        yield Problem("svd needs the rank of the result", config.place("method"), "give --new_rank N")


@run_command(
    needs=("models", "save_to"),
    tables=_TABLES,
    read=reader(_TABLES, _problems),
)
def merge(request: Request) -> None:
    """Write base model and trained networks as one checkpoint in the original layout; its path is printed.

    The model is read and written tensor by tensor. Tensors keep the base model's precision unless save_precision is
    given. Without pretrained_model_name_or_path the networks are merged into one LoRA file; modules that are no LoRA
    need --arch and --method svd.
    """
    config, options = request.config, request.config[MergeOptions]
    ratios = options.ratios * len(options.models) if len(options.ratios) == 1 else options.ratios
    ratios = ratios or (1.0,) * len(options.models)
    path = Path(options.save_to or "")
    files = [(Path(name), ratio) for name, ratio in zip(options.models, ratios, strict=True)]
    if config[ModelOptions].pretrained_model_name_or_path is None:
        lines = _join(request, files, path)
    else:
        from loracore.weights.merge import merging  # brings torch: options can no longer be wrong

        count = merging.merge(request.plugins.hook, config, files, path, saved_as(config))
        lines = [f"{count} modules merged"]
    for line in lines:
        click.echo(printable(line), err=True)
    click.echo(path)


def _join(request: Request, files: Sequence[tuple[Path, float]], path: Path) -> list[str]:
    """Write one network file and return what came of it."""
    from loracore.weights.merge import joining  # brings torch: options can no longer be wrong

    options = request.config[MergeOptions]
    rank = options.new_rank or 0
    method = joining.Method(options.method, rank, options.new_conv_rank or rank, saved_as(request.config))
    joined = joining.join(request.plugins.hook, request.config, files, path, method)
    return [f"{joined.modules} modules merged", *(joined.shares.lines() if options.method == "svd" else ())]
