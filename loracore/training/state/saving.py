"""Saving the state of a run: copied between two steps, written while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracore.errors import LoracoreError
from loracore.training.state.codec import packed
from loracore.training.state.content import package_versions, state_content
from loracore.training.state.folder import write_state
from loracore.training.telling.known import settle
from loracore.training.watchdogs.not_finite import check_adapters
from loracore.weights.extremes import is_finite

if TYPE_CHECKING:
    from loracore.training.run import Run

#: What is done when a state stands.
Then = Callable[[], None]


def _nothing() -> None:
    pass


def save_state(run: Run, step: int, epoch: int, path: Path, reason: str, then: Then = _nothing) -> None:
    """Save the state as it is behind ``step``; every process calls this, the main one writes.

    Told as "saved", or as "save_failed" when it could not be written: the run goes on, and the state that was there
    before stays. Where the adapters are not finite NotFiniteError is raised when this becomes known.
    """
    settle(run)
    store_state(run, step, epoch, path, reason, then)


def store_state(run: Run, step: int, epoch: int, path: Path, reason: str, then: Then = _nothing) -> None:
    """Do the same when every step is known already."""
    if not run.processes.main:
        return
    content = state_content(run, step, epoch)
    job = partial(_write, path, step, package_versions(run.config), content)
    run.writer.submit(job, path, partial(_told, run, step, epoch, path, reason, then))


def _write(path: Path, step: int, versions: dict[str, str], content: dict[str, Any]) -> None:
    """Write a state; raises LoracoreError for one that nothing good can follow from."""
    bad = [name for name, tensor in packed(content)[1].items() if not is_finite(tensor)]
    if bad:
        message = f"{len(bad)} tensors are not finite, for example {bad[0]}: the state is not written"
        raise LoracoreError(message, where=str(path), fix="lower learning_rate")
    write_state(path, step, versions, content)


def _told(run: Run, step: int, epoch: int, path: Path, reason: str, then: Then, error: LoracoreError | None) -> None:
    if error is not None:
        run.tell("save_failed", step, path=str(path), what="state", message=str(error))
        check_adapters(run, step, path)
        return
    run.tell("saved", step, path=str(path), what="state", reason=reason, epoch=epoch)
    then()
