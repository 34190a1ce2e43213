"""Writes the network to a file, and the run's state to a folder: every n epochs, every n steps, and at the end.

Before extensions are told, but for those that ask to be first (``tryfirst``). What one that fails would lose is saved
all the same, when its error ends the run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from loracore import SavingOptions, hookimpl
from loracore.config.options import StateOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loracore.training.results.retention import Series
    from loracore.training.run import Run


@hookimpl(tryfirst=True)
def step_done(run: Run, step: int) -> None:
    """Save after every ``save_every_n_steps`` steps, and tell of what has been written since the last step."""
    run.results.writer.poll()
    every = run.config[SavingOptions].save_every_n_steps
    if every and step % every == 0:
        epoch = run.length.epoch_of(step)
        run.save(step=step, epoch=epoch, name=run.results.files.step(step), reason="step")
        _save_state(run, step, epoch, "step")


@hookimpl(tryfirst=True)
def epoch_done(run: Run, epoch: int, step: int) -> None:
    """Save after every ``save_every_n_epochs`` epochs but the last, whose file is the final one."""
    every = run.results.retention.every_epochs
    if every and epoch % every == 0 and step < run.length.steps:
        run.save(step=step, epoch=epoch, name=run.results.files.epoch(epoch), reason="epoch")
        _save_state(run, step, epoch, "epoch")


@hookimpl(tryfirst=True)
def run_finished(run: Run, step: int) -> None:
    """Save the final file and, if asked for, the final state; return when both stand, or could not be written."""
    from loracore.training.results.final_file import save_final

    epoch = run.length.epoch_of(step)
    save_final(run, step)
    states = run.config[StateOptions]
    if states.save_state or states.save_state_on_train_end:
        run.save_state(step, epoch, run.results.files.states.final, "final")
    run.results.writer.settle()


def _save_state(run: Run, step: int, epoch: int, scope: Literal["step", "epoch"]) -> None:
    """Save the state beside a file (``save_state``); those that it supersedes go when it stands."""
    if not run.config[StateOptions].save_state:
        return
    series, number = run.results.retention.of("state", scope), step if scope == "step" else epoch
    old = series.add(number)
    run.save_state(step, epoch, series.path(number), scope, partial(_remove, run, series, number, old))


def _remove(run: Run, series: Series, number: int, old: Sequence[Path]) -> None:
    """Remove states, on the writer's thread."""
    from loracore.training.results.retention import remove_all
    from loracore.training.state.folder import remove_state

    if old:
        run.results.writer.submit(partial(remove_all, old, remove_state), old[-1], lambda _: series.tidy(number))
