"""``loracore merge``: a trained network goes into its base model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.weight_files import reader, saved_as, target_problems
from loracore.config.config import Config
from loracore.config.options import ModelOptions, SavingOptions
from loracore.errors import Problem
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
    inputs = [*options.models, *([] if base is None else [base])]
    yield from target_problems(options.save_to, inputs, config)


@run_command(
    needs=("arch", "pretrained_model_name_or_path", "models", "save_to"),
    tables=_TABLES,
    read=reader(_TABLES, (ModelOptions, SavingOptions), _problems),
)
def merge(request: Request) -> None:
    """Write base model and trained networks as one checkpoint in the original layout; its path is printed.

    The model is read and written tensor by tensor. Tensors keep the base model's precision unless save_precision is
    given.
    """
    config, options = request.config, request.config[MergeOptions]
    ratios = options.ratios * len(options.models) if len(options.ratios) == 1 else options.ratios
    ratios = ratios or (1.0,) * len(options.models)

    from loracore.weights import merging  # brings torch: options can no longer be wrong

    path = Path(options.save_to or "")
    files = [(Path(name), ratio) for name, ratio in zip(options.models, ratios, strict=True)]
    count = merging.merge(request.plugins.hook, config, files, path, saved_as(config))
    click.echo(f"{count} modules merged", err=True)
    click.echo(path)
