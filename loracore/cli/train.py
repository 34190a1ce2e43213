"""``loracore train``: train a network and save it."""

from __future__ import annotations

import click

from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.config.datasets import read_datasets


@run_command(needs=("arch", "pretrained_model_name_or_path", "output_dir"))
def train(request: Request) -> None:
    """Train a network and save it; the path of the final file is printed."""
    datasets = read_datasets(request.config, request.document)

    from loracore.training import train as training  # brings torch: options can no longer be wrong

    path = training.train(request.config, request.plugins, datasets, request.notes)
    if path is not None:
        click.echo(path)
