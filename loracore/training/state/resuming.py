"""Which state a run goes on from, and behind which step a run begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loracore.config.config import Config
from loracore.config.options import StateOptions, TrainingOptions
from loracore.errors import ConfigError, LoracoreError
from loracore.training.metadata import Session
from loracore.training.state.content import CONTENT, other_version, package_versions
from loracore.training.state.folder import read_head, read_state, states_in
from loracore.training.state.names import LATEST, StateNames
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


def state_to_resume(config: Config, names: StateNames) -> Resumed | None:
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
    path = Path(wanted).expanduser()
    content = _read(path)
    return Resumed(path, content, tuple(_other_versions(path, config)))


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


def _latest(config: Config, names: StateNames) -> Resumed:
    notes: list[str] = []
    heads = []
    for path in states_in(names):
        try:
            heads.append(read_head(path))
        except LoracoreError as error:
            notes.append(f"resume: left out: {error}")
    for head in sorted(heads, key=lambda one: (one.written, one.step), reverse=True):
        try:
            content = _read(head.path)
        except LoracoreError as error:
            notes.append(f"resume: left out: {error}")
            continue
        return Resumed(head.path, content, (*notes, *_other_versions(head.path, config)))
    if notes:
        raise LoracoreError.of([problem for path in states_in(names) for problem in _damage(path)])
    return Resumed(None, None, (f"resume: no state in {names.folder} yet, the run begins at its beginning",))


def _read(path: Path) -> Any:
    """Return the content of a state; raises LoracoreError where it cannot be read, or lacks what is known today."""
    content = read_state(path)
    lacking = sorted(CONTENT - content.keys())
    if lacking:
        raise other_version(", ".join(lacking), str(path))
    return content


def _damage(path: Path) -> tuple[Any, ...]:
    try:
        _read(path)
    except LoracoreError as error:
        return error.problems
    return ()


def _other_versions(path: Path, config: Config) -> list[str]:
    """Return a note on packages whose version is not that of the state: numbers may differ in their last digits."""
    saved, own = read_head(path).versions, package_versions(config)
    changed = [
        f"{name} {saved.get(name, 'none')} → {number}" for name, number in own.items() if saved.get(name) != number
    ]
    return [f"resume: other versions than the state's ({', '.join(changed)})"] if changed else []
