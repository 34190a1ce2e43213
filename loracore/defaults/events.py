"""Writes every event into ``events.jsonl``, and the run's ``report.html`` when it ends.

Before extensions are told, but for those that ask to be first (``tryfirst``).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from loracore import Event, hookimpl
from loracore.errors import printable

if TYPE_CHECKING:
    from loracore.training.run import Run


@hookimpl(tryfirst=True)
def happened(run: Run, event: Event) -> None:
    """Write the event down; after the last one, the report."""
    try:
        run.outlets.log.write(_with_pace(run, event) if event.kind == "step" else event)
    except OSError as error:
        if run.outlets.log.first_failure():
            place = f"{run.outlets.log.path}: {error.strerror or error}"
            run.outlets.progress.say(
                printable(f"the run's events cannot be written down ({place}); the run goes on"), logging.WARNING
            )
    if event.kind == "finished":
        run.outlets.log.close()
        _report(run)


def _with_pace(run: Run, event: Event) -> Event:
    """Return a step with what the bar shows beside its numbers: pictures a second, and GB of memory."""
    pace = {
        "images_per_second": round(run.outlets.progress.images_per_second(event.step), 3),
        "memory": round(run.outlets.memory.gigabytes(), 3),
    }
    return replace(event, values={**event.values, **pace})


def _report(run: Run) -> None:
    from loracore.report.writing import write_report

    try:
        path = write_report(run.outlets.log.path)
    except Exception as error:  # noqa: BLE001  # the result is saved; nothing in a page about it is worth its run
        run.outlets.progress.say(
            printable(f"the report could not be written: {type(error).__name__}: {error}"), logging.WARNING
        )
        return
    run.outlets.progress.say(printable(f"report       {path}"))
