"""One validation: measured, told, and followed: the best files are kept, and a run that learns no more is ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loracore.training.run import Run
from loracore.training.telling.json_numbers import json_number
from loracore.training.validation.held_out import HeldOut
from loracore.training.validation.measuring import Measured, measure
from loracore.training.validation.record import Verdict
from loracore.training.watchdogs.out_of_memory import explaining


def validate(run: Run, held_out: HeldOut, step: int, scopes: Sequence[str]) -> None:
    """Validate once, tell it for each scope ("step", "epoch"), keep the file when it is among the best.

    The run is asked to stop when no better loss has come for as long as the options say. A validation that a signal
    ends has no verdict: the run that goes on begins with it.
    """
    run.settle()  # the average that the loss is compared with is that of the steps so far
    run.watch.validations.owed = step  # until it has a verdict: what an error saves knows of it, too
    with explaining(run.config, "validation"):
        measured = measure(run, held_out)
    if measured is None:
        run.tell("note", step, text=f"the validation of step {step} was left out, the run is to stop")
        return
    run.watch.validations.owed = None
    verdict = run.watch.validations.judge(step, measured.loss)
    epoch = run.length.epoch_of(step)
    for scope in scopes:
        run.tell("validation", step, epoch=epoch, scope=scope, **_values(run, measured, verdict))
    if verdict.kept:
        gone = tuple(run.results.files.best(dropped) for dropped in verdict.dropped)
        run.save(step=step, epoch=epoch, name=run.results.files.best(step), reason="best", gone=gone)
    if verdict.stop is not None:
        run.control.stop(verdict.stop)


def _values(run: Run, measured: Measured, verdict: Verdict) -> dict[str, Any]:
    """Return what the event holds; a number that JSON does not know (NaN, infinity) is None there."""
    average = run.steps.history.average
    divergence = None if average is None else measured.loss - average
    return {
        "loss": json_number(measured.loss),
        "bands": {str(timestep): json_number(loss) for timestep, loss in measured.bands.items()},
        "divergence": None if divergence is None else json_number(divergence),
        "best": verdict.best,
        "images": measured.images,
    }
