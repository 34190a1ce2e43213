"""Measures the loss on held-out pictures: every n steps, every n epochs.

Before a state is saved, which holds what the validation of its step has shown: a resumed run does not repeat it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from loracore import hookimpl
from loracore.config.options import ValidationOptions

if TYPE_CHECKING:
    from loracore.training.run import Run
    from loracore.training.steps.length import Length


@hookimpl
def run_started(run: Run) -> None:
    """Make up for the validation that a signal has ended, and look for the best files of a run that goes on."""
    if run.start.taken and run.processes.main and run.config[ValidationOptions].keep_best:
        from loracore.training.validation.best_files import settle_best_files

        for note in settle_best_files(run.watch.validations, run.results.files, run.start.taken):
            run.tell("note", run.start.taken, text=note)
    if run.watch.validations.owed == run.start.taken:
        _validate(run, run.start.taken)


@hookimpl(tryfirst=True)  # and registered behind what saves: of two such the later comes first
def step_done(run: Run, step: int) -> None:
    """Validate where a step is due, an epoch that ends with it, or both: then once."""
    _validate(run, step)


def _validate(run: Run, step: int) -> None:
    scopes = tuple(due_scopes(run.config[ValidationOptions], run.length, step))
    if run.watch.held_out is not None and scopes:
        from loracore.training.validation.validating import validate

        validate(run, run.watch.held_out, step, scopes)


def due_scopes(options: ValidationOptions, length: Length, step: int) -> Iterator[str]:
    """Give what is due after a step (1-based): "step", "epoch"."""
    if options.validate_every_n_steps and step % options.validate_every_n_steps == 0:
        yield "step"
    if length.ends_epoch(step) and options.every_n_epochs and length.epoch_of(step) % options.every_n_epochs == 0:
        yield "epoch"
