"""What has become known of steps, told to the plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loracore.config.options import TrainingOptions
from loracore.training.history import StepRecord
from loracore.training.watchdogs.skipped import check_skipped

if TYPE_CHECKING:
    from loracore.training.run import Run


def known(run: Run, records: Sequence[StepRecord]) -> None:
    """Tell of steps whose numbers have become known; raises SkippedStepsError when too many in a row were skipped."""
    for record in records:
        run.tell("step", record.step, **record.values())
        if record.skipped:
            run.tell("skipped", record.step, ids=list(record.bad_ids), epoch=record.epoch)
    check_skipped(run.history, run.config[TrainingOptions].max_skipped_steps)


def settle(run: Run) -> None:
    """Wait until every step that was taken is known, and tell of it; every process calls this."""
    known(run, run.history.settle())
