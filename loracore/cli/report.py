"""``loracore report``: make a run's page again, of a run that was killed too."""

from __future__ import annotations

from pathlib import Path

import click

from loracore.errors import LoracoreError


@click.command(short_help="Make the report of a run from its events.")
@click.argument("place", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="the page to write (default: report.html beside them)")
def report(place: Path, output: Path | None) -> None:
    """Make report.html from PLACE: events.jsonl of a run, its folder, or the run's output folder.

    A run makes it when it ends; of one that was killed, or goes on, this shows what has happened so far. The page's
    path is printed.
    """
    from loracore.report.reading import events_file
    from loracore.report.writing import write_report

    events = events_file(place)
    try:
        click.echo(write_report(events, output))
    except OSError as error:
        message = f"the page cannot be written: {error.strerror or error}"
        raise LoracoreError(message, where=str(output or events.parent), fix="give another --output") from error
