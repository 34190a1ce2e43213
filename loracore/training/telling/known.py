"""What has become known of steps, told to the plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loracore.config.options import TrainingOptions
from loracore.training.steps.history import StepRecord
from loracore.training.watchdogs.not_finite import check_adapters
from loracore.training.watchdogs.skipped import check_skipped

if TYPE_CHECKING:
    from loracore.training.run import Run


def known(run: Run, records: Sequence[StepRecord]) -> None:
    """Tell of steps whose numbers have become known.

    Raises SkippedStepsError when too many in a row were skipped, NotFiniteError when that is since the adapters are
    worthless themselves.
    """
    for record in records:
        run.tell("step", record.step, **record.values())
        if record.skipped:
            run.tell("skipped", record.step, ids=list(record.bad_ids), epoch=record.epoch)
    most = run.config[TrainingOptions].max_skipped_steps
    if not records:
        return  # of a run that is resumed the count may be that of its last life
    if run.history.in_a_row >= most:
        check_adapters(run, records[-1].step)
    check_skipped(run.history, most)


def settle(run: Run) -> None:
    """Wait until every step that was taken is known, and tell of it; every process calls this."""
    known(run, run.history.settle())
