"""``loracore plan``: what a run will take of its card's memory, and the settings that make it fit."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator

import click

from loracore.cli.fsdp import wanted_sharding
from loracore.cli.plan_json import described
from loracore.cli.plan_text import lines
from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.train import with_datasets
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import DataOptions
from loracore.errors import printable


@run_command(needs=("arch",), switches={"json": "print one JSON object"})
def plan(request: Request, *, json: bool) -> None:
    """Show what a run takes of its card's memory, by phase and part, and the settings that fit the card.

    Counted from configurations or file headers: no weights are read. The card is the one that is there, or of
    memory_budget GB; without either, cards of usual sizes are gone through. Without pictures the batch is what
    resolution and train_batch_size say, and without a base model an architecture has its standard sizes.
    """
    datasets: tuple[DatasetSpec, ...] = ()
    if _has_pictures(request):
        request, datasets = with_datasets(request)

    from loracore.training.planning.outlook import outlook  # brings torch: options can no longer be wrong

    found = outlook(request.config, request.plugins, datasets)
    for note in [*request.notes, *found.notes, *_sharding(request)]:
        click.echo(f"note: {note}", err=True)
    if json:
        click.echo(json_format.dumps(described(found), indent=1))
        return
    for line in lines(found):
        click.echo(printable(line))


def _sharding(request: Request) -> Iterator[str]:
    """Give the note for whom a launcher's environment asks for FSDP."""
    if wanted_sharding(request.config) is not None:
        yield "FSDP is not counted: what is shown is a card that holds all frozen weights"


def _has_pictures(request: Request) -> bool:
    """Tell whether the options name any pictures."""
    data, document = request.config[DataOptions], request.document
    named = (data.dataset_config, data.in_json, data.train_data_dir, data.reg_data_dir)
    return any(one is not None for one in named) or (document is not None and "datasets" in document.values)
