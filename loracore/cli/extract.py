"""``loracore extract``: the difference of two models becomes a LoRA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.weight_files import reader, saved_as, target_problems
from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.errors import Problem
from loracore.weights.options import ExtractOptions

_TABLES = (ExtractOptions,)


def _problems(config: Config) -> Iterator[Problem]:
    """Give what is wrong with the models and the file's name."""
    base, tuned = config[ModelOptions].pretrained_model_name_or_path, config[ExtractOptions].tuned_model
    if base is not None and base == tuned:
        message = "this is the base model itself"
        yield Problem(message, config.place("tuned_model"), "give a model that was trained from it")
    inputs = [model for model in (base, tuned) if model is not None]
    yield from target_problems(config[ExtractOptions].save_to, inputs, config)


@run_command(
    needs=("arch", "pretrained_model_name_or_path", "tuned_model", "save_to"),
    tables=_TABLES,
    read=reader(_TABLES, _problems),
)
def extract(request: Request) -> None:
    """Write the LoRA that turns the base model into the tuned one; its path is printed.

    Ranks are those of network_dim and, for convolutions, conv_dim. Both models are read layer by layer, whatever their
    formats.
    """
    config, options = request.config, request.config[ExtractOptions]

    import torch

    from loracore.weights.extract import extracting  # brings torch: options can no longer be wrong

    path = Path(options.save_to or "")
    limits = extracting.Limits(options.clamp_quantile, options.min_diff)
    output = (path, saved_as(config) or torch.float32)
    found = extracting.extract(request.plugins.hook, config, options.tuned_model or "", output, limits)
    for line in (*found.notes, f"{found.modules} modules", *found.shares.lines()):
        click.echo(line, err=True)
    click.echo(path)
