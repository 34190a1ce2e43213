"""``loracore cache``: fill the caches on disk and stop."""

from __future__ import annotations

import click

from loracore.cli.launching import leave_to_processes
from loracore.cli.request import Request
from loracore.cli.run_command import run_command
from loracore.cli.train import read_with_data, with_datasets
from loracore.collector import collecting_later
from loracore.errors import printable


@run_command(needs=("arch", "pretrained_model_name_or_path"), read=read_with_data)
def cache(request: Request) -> None:
    """Encode the pictures and captions that a run with the same options would encode, keep them on disk, and stop.

    Runs that share the cache folder (cache_dir) then start without the VAE and without the text encoders that do not
    train. An interrupted filling goes on where it stopped. A picture that was changed is seen by its time of change or
    its length, and encoded again; the old one stays known.
    """
    request, datasets = with_datasets(request)
    leave_to_processes(request.config)

    with collecting_later():
        from loracore.training.filling import fill_caches  # brings torch: options can no longer be wrong

    idle = f"{request.config.place('cache_format')}: "  # of a run that keeps nothing; here everything is kept
    notes = [note for note in request.notes if not note.startswith(idle)]
    for line in fill_caches(request.config, request.plugins, datasets, notes):
        click.echo(printable(line))
