"""Which state a run goes on from, and behind which step a run begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loracore.config.config import Config
from loracore.config.options import StateOptions, TrainingOptions
from loracore.errors import ConfigError, LoracoreError
from loracore.training.metadata import Session
from loracore.training.results.outputs import ResultFiles
from loracore.training.state.content import CONTENT, other_version, package_versions
from loracore.training.state.folder import Head, read_head, read_whole, states_in
from loracore.training.state.names import LATEST
from loracore.training.steps.length import Length


@dataclass(frozen=True, eq=False, slots=True)
class Resumed:
    """A state that was read, and what is to be said of it."""

    path: Path | None  # None: there was none, the run begins at its beginning
    content: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()

    @property
    def seed(self) -> int | None:
        """The seed of the run that goes on; None: there is none."""
        return None if self.content is None else int(self.content["seed"])

    @property
    def session(self) -> Session | None:
        """The session that goes on; None: there is none."""
        return None if self.content is None else Session(self.content["session_id"], self.content["started"])


def state_to_resume(config: Config, names: ResultFiles) -> Resumed | None:
    """Return the state that ``resume`` asks for; None when it asks for none.

    "latest" is the state that was written last in this output folder under this output name, not the one with the
    highest step: that may be of an older run that was overwritten, or of a life that was given up. Without one the run
    begins at its beginning, and says so. Raises LoracoreError for a path where there is no whole state.
    """
    wanted = config[StateOptions].resume
    if wanted is None:
        return None
    if wanted == LATEST:
        return _latest(config, names)
    return _resumed(Path(wanted).expanduser(), config)


def steps_before(config: Config, length: Length) -> int:
    """Return how many steps are left out at the beginning: ``initial_step``, or the epochs before ``initial_epoch``.

    Raises ConfigError when no step remains.
    """
    training = config[TrainingOptions]
    option, steps = "initial_step", training.initial_step or 0
    if training.initial_step is None and training.initial_epoch is not None:
        option, steps = "initial_epoch", (training.initial_epoch - 1) * length.steps_per_epoch
    if steps >= length.steps:
        message = f"the run begins behind step {steps}, and ends with step {length.steps}"
        raise ConfigError(message, where=config.place(option), fix=f"give a smaller {option}")
    return steps


def _latest(config: Config, names: ResultFiles) -> Resumed:
    heads: list[Head] = []
    left_out: dict[Path, LoracoreError] = {}
    for path in states_in(names):
        try:
            heads.append(read_head(path))
        except LoracoreError as error:
            left_out[path] = error
    for head in sorted(heads, key=lambda one: (one.written, one.step), reverse=True):
        try:
            found = _resumed(head.path, config)
        except LoracoreError as error:
            left_out[head.path] = error
        else:
            notes = (f"resume: left out: {error}" for error in left_out.values())
            return replace(found, notes=(*notes, *found.notes))
    if left_out:
        raise LoracoreError.of([problem for path in sorted(left_out) for problem in left_out[path].problems])
    return Resumed(None, None, (f"resume: no state in {names.folder} yet, the run begins at its beginning",))


def _resumed(path: Path, config: Config) -> Resumed:
    """Return a state; raises LoracoreError where it cannot be read, or lacks what is known today."""
    head, content = read_whole(path)
    lacking = sorted(CONTENT - content.keys())
    if lacking:
        raise other_version(", ".join(lacking), str(path))
    return Resumed(path, content, tuple(_other_versions(head, config)))


def _other_versions(head: Head, config: Config) -> Iterator[str]:
    """Give a note on packages whose version is not that of the state: numbers may differ in their last digits."""
    saved, own = head.versions, package_versions(config)
    changed = [
        f"{name} {saved.get(name, 'none')} → {number}" for name, number in own.items() if saved.get(name) != number
    ]
    if changed:
        yield f"resume: other versions than the state's ({', '.join(changed)})"
