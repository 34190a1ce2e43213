"""How a run ends: as planned, early, by a signal, or by an error; in each of them what was trained is saved."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from loracore.errors import LoracoreError
from loracore.training.results.final_file import places_elsewhere
from loracore.training.results.saving import Save
from loracore.training.run import Run
from loracore.training.steps.control import Interrupted
from loracore.training.watchdogs.not_finite import is_finite


@dataclass(slots=True)
class Place:
    """How far a run has come."""

    step: int  # the last that was taken
    ended: bool = False  # everything is saved, and the end is told
    moves: bool = False  # a step is changing the network: what it was before is gone, what it will be is not there yet
    began: float = field(default_factory=time.time)  # this process's part of the run, seconds since the epoch


def tell_speed(run: Run, step: int) -> None:
    """Tell what has become known of speed since the last time."""
    for line in run.steps.speed.lines():
        run.tell("note", step, text=line)


def end(run: Run, place: Place) -> None:
    """Save what the end of a run saves; raises Interrupted when a signal ended it before its last step.

    Until the final file stands a first signal is only noted: the run is over anyway.
    Raises LoracoreError when no step of the whole run could be applied. An interrupt saves nothing when none of this
    process's life was.
    """
    run.network.clear_masks()
    over = place.step >= run.length.steps
    if run.control.interrupted and not over:
        _interrupt(run, place)
    _check_moved(run)
    run.hook.run_finished(run=run, step=place.step)
    run.results.writer.settle()
    _tell_finished(run, place, "done" if over else run.control.reason or "done")


def rescue(run: Run, place: Place, error: Exception) -> None:
    """Save network and state of the last whole step before an error goes on; nothing that fails here hides it.

    Where no step of this process's life was applied, or the adapters are not finite, there is nothing to save, nor
    where an end was told already.
    """
    if place.ended:
        return
    try:
        tell_speed(run, place.step)  # perhaps why memory ran out
        if place.step > run.start.taken and not place.moves:
            run.steps.history.settle(alone=True)  # the others may be waiting in a step
            if not run.steps.history.nothing_applied and is_finite(run.network):
                _save(run, place)
                name = run.results.files.step(place.step).stem  # of the file, and of the state beside it
                where = next((path for path in run.results.writer.standing if path.name.startswith(name)), None)
                became = "could not be saved" if where is None else f"is saved: {where}"
                run.tell("note", place.step, text=f"an error ended the run; step {place.step} {became}")
        _tell_finished(run, place, f"{type(error).__name__}: {error}")
    except Exception as second:  # noqa: BLE001  # whatever it is, the first error is the one to be shown
        run.outlets.progress.say(f"step {place.step} could not be saved: {second}")


def _interrupt(run: Run, place: Place) -> None:
    run.settle()
    state = None if run.steps.history.nothing_applied else _save(run, place)
    _tell_finished(run, place, run.control.reason or "interrupted")
    raise Interrupted(place.step, state)


def _save(run: Run, place: Place) -> Path | None:
    """Write network and state of a step, when every step is known; return the state's folder when it stands."""
    step, stands = place.step, []
    path, epoch = run.results.files.states.step(step), run.length.epoch_of(step) if step else 0
    for series in (run.results.retention.of("network", "step"), run.results.retention.of("state", "step")):
        series.add(step)  # before the state's content is taken: a resumed run removes both when their time has come
    run.store_state(Save(path, step, epoch, "stop"), lambda: stands.append(path))
    run.save(step=step, epoch=epoch, name=run.results.files.step(step), reason="stop")
    run.results.writer.settle()
    if run.results.saver is not None and not stands and run.results.files.step(step) not in run.results.writer.standing:
        _save_elsewhere(run, step, epoch)
    return stands[0] if stands else None


def _save_elsewhere(run: Run, step: int, epoch: int) -> None:
    """Write the network where the final file would go when its own folder takes nothing; it is told as any."""
    for path in places_elsewhere(run.results.files.folder, run.results.files.step(step).name):
        run.save(step=step, epoch=epoch, name=path, reason="stop")
        run.results.writer.settle()
        if path in run.results.writer.standing:
            return


def _check_moved(run: Run) -> None:
    if not run.steps.history.nothing_applied:
        return
    message = f"no step could be applied: loss or gradient was not finite in all {run.steps.history.skipped_here}"
    if run.steps.history.never_applied:
        raise LoracoreError(message, fix="check the base model, or use mixed_precision bf16")
    run.tell("note", run.length.steps, text=f"{message}; what is saved is the network of the state")


def _tell_finished(run: Run, place: Place, reason: str) -> None:
    place.ended = True  # before: a listener that fails ends nothing twice
    tell_speed(run, place.step)  # of validation and previews behind the last step
    run.tell("finished", place.step, reason=reason, seconds=time.time() - place.began)
