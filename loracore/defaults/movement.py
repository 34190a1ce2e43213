"""Says when adapters do not move: after a few dozen steps, and at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracore import hookimpl

if TYPE_CHECKING:
    from loracore.training.run import Run


@hookimpl
def run_started(run: Run) -> None:
    """Keep in mind where the adapters start."""
    run.watch.movement.begin(run.start.taken)


@hookimpl
def step_done(run: Run, step: int) -> None:
    """Look for the first time when the run is long enough for everything to have moved."""
    if run.watch.movement.due(step):
        _tell(run, step)


@hookimpl
def run_finished(run: Run, step: int) -> None:
    """Look for the last time."""
    _tell(run, step)


def _tell(run: Run, step: int) -> None:
    if not run.processes.main:
        return
    largest = max(run.moving.schedule.base_rates().values())
    for note in run.watch.movement.notes(step, largest_rate=largest, all_skipped=run.steps.history.nothing_applied):
        run.tell("note", step, text=note)
