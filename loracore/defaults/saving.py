"""Writes the network to a file: every n epochs, every n steps, and at the end.

Before all others are told, so that a failing extension cannot lose the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracore import SavingOptions, hookimpl

if TYPE_CHECKING:
    from loracore.training.run import Run


@hookimpl(tryfirst=True)
def step_done(run: Run, step: int) -> None:
    """Save after every ``save_every_n_steps`` steps."""
    every = run.config[SavingOptions].save_every_n_steps
    if every and step % every == 0:
        run.save(step=step, epoch=run.length.epoch_of(step), name=run.files.step(step))


@hookimpl(tryfirst=True)
def epoch_done(run: Run, epoch: int, step: int) -> None:
    """Save after every ``save_every_n_epochs`` epochs but the last, whose file is the final one."""
    every = run.config[SavingOptions].save_every_n_epochs
    if every and epoch % every == 0 and step < run.length.steps:
        run.save(step=step, epoch=epoch, name=run.files.epoch(epoch))


@hookimpl(tryfirst=True)
def run_finished(run: Run, step: int) -> None:
    """Save the final file."""
    run.save(step=step, epoch=run.length.epochs, name=run.files.final)
