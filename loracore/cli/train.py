"""``loracore train``: train a network and save it."""

from __future__ import annotations

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command


@run_command(needs=("arch", "pretrained_model_name_or_path", "output_dir"))
def train(request: Request) -> None:
    """Train a network and save it; the path of the final file is printed."""
    from loracore.config.datasets import read_datasets  # noqa: PLC0415  # commands import what they use when called
    from loracore.training import run  # noqa: PLC0415  # torch, only when every option is checked

    datasets = read_datasets(request.config, request.document)
    click.echo(run.train(request.config, request.plugins, datasets, request.notes))
