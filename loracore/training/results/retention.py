"""Which older files go when a newer one stands: ``save_last_n_epochs``, ``save_last_n_steps``, and those of states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from loracore.config.options import SavingOptions, StateOptions
from loracore.training.results.outputs import ResultFiles

Scope = Literal["epoch", "step"]


def epochs_between(saving: SavingOptions, epochs: int) -> int:
    """Return after how many epochs a run of ``epochs`` saves each time; 0: never. ``save_n_epoch_ratio`` wins."""
    if saving.save_n_epoch_ratio:
        return epochs // saving.save_n_epoch_ratio or 1
    return saving.save_every_n_epochs or 0


def superseded_epoch(every: int, last: int, saved: int) -> int | None:
    """Return the newest epoch whose file goes when that of ``saved`` stands: ``last`` files are kept; None: none."""
    epoch = saved - every * last
    return epoch if epoch >= 0 else None


def superseded_step(every: int, last: int, saved: int) -> int | None:
    """Return the newest step whose file goes when that of ``saved`` stands: the last ``last`` steps' are kept."""
    step = saved - last - 1
    step -= step % every
    return step if step >= 0 else None


class Series:
    """The files of one kind that this run has written, in the order of their numbers (epochs or steps)."""

    def __init__(self, path: Callable[[int], Path], superseded: Callable[[int], int | None]) -> None:
        self.path, self._superseded = path, superseded
        self._numbers: list[int] = []

    def add(self, saved: int) -> list[Path]:
        """Remember a file that is about to be written; return those that go when it stands, left-overs included."""
        self._numbers = sorted({*self._numbers, saved})
        newest = self._superseded(saved)
        if newest is None:
            return []
        return [self.path(number) for number in self._numbers if number <= newest and number != saved]

    def tidy(self, saved: int) -> None:
        """Forget what is gone, or never came to be, when the file of ``saved`` has been written, or has not."""
        self._numbers = [number for number in self._numbers if number > saved or self.path(number).exists()]

    @property
    def newest(self) -> Path | None:
        """The newest file that stands."""
        paths = [self.path(number) for number in self._numbers]
        return next((path for path in reversed(paths) if path.exists()), None)

    def holds(self, path: Path) -> bool:
        """Tell whether a file is one of these."""
        return any(self.path(number) == path for number in self._numbers)

    def state(self) -> list[int]:
        """Return the numbers of the files."""
        return list(self._numbers)

    def load(self, numbers: Sequence[int]) -> None:
        """Take over the numbers of an earlier part of the run."""
        self._numbers = sorted(set(numbers))


class Retention:
    """The files and states that this run has written, and which of them go.

    Only what this run, or the one that it resumes, has written is ever removed.
    """

    def __init__(self, files: ResultFiles, saving: SavingOptions, states: StateOptions, epochs: int) -> None:
        self.every_epochs = epochs_between(saving, epochs)
        steps, folders = saving.save_every_n_steps or 0, files.states
        kept_epochs = _first(states.save_last_n_epochs_state, saving.save_last_n_epochs)
        kept_steps = _first(states.save_last_n_steps_state, saving.save_last_n_steps)
        self._series: Mapping[tuple[str, Scope], Series] = {
            ("network", "epoch"): Series(files.epoch, _epochs(self.every_epochs, saving.save_last_n_epochs)),
            ("network", "step"): Series(files.step, _steps(steps, saving.save_last_n_steps)),
            ("state", "epoch"): Series(folders.epoch, _epochs(self.every_epochs, kept_epochs)),
            ("state", "step"): Series(folders.step, _steps(steps, kept_steps)),
        }

    def of(self, what: Literal["network", "state"], scope: Scope) -> Series:
        """Return the files of networks, or the folders of states, that were saved by epochs or by steps."""
        return self._series[what, scope]

    @property
    def all(self) -> Sequence[Series]:
        """Every series, files before states."""
        return list(self._series.values())

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs, for JSON."""
        return {f"{what} {scope}": series.state() for (what, scope), series in self._series.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over the files of an earlier part of the run."""
        for (what, scope), series in self._series.items():
            series.load(state[f"{what} {scope}"])


def remove_all(old: Sequence[Path], remove: Callable[[Path], None]) -> None:
    """Remove files or states that newer ones take the place of; on the writer's thread."""
    for path in old:
        with suppress(OSError):  # gone already, or held open on Windows: it goes with the next
            remove(path)


def _first(*values: int | None) -> int:
    return next((value for value in values if value is not None), 0)


def _epochs(every: int, last: int | None) -> Callable[[int], int | None]:
    return lambda saved: superseded_epoch(every, last, saved) if every and last else None


def _steps(every: int, last: int | None) -> Callable[[int], int | None]:
    return lambda saved: superseded_step(every, last, saved) if every and last else None
