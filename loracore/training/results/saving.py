"""Saving the network while training goes on: a copy is taken at once, the file is written from it on a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from loracore.config.options import ModelOptions, SavingOptions
from loracore.errors import LoracoreError
from loracore.training.metadata import Header, Moment
from loracore.training.results.checkpoints import WorthlessError, save_dtype, write_network
from loracore.training.results.retention import Retention, Series, remove_all
from loracore.training.results.snapshots import Shadow, Snapshots
from loracore.training.results.writing import BackgroundWriter
from loracore.training.steps.ema import Ema
from loracore.training.updates.moving import trained_dtype
from loracore.weights.extremes import is_finite

#: Why a file is written: at an interval, at the end, for a better validation loss, because the run is to stop.
Reason = Literal["step", "epoch", "final", "best", "stop"]


@dataclass(frozen=True, slots=True)
class Save:
    """One file that is asked for."""

    path: Path
    step: int  # the last that was taken, 1-based
    epoch: int  # that this step belongs to, 1-based
    reason: Reason
    gone: tuple[Path, ...] = ()  # files whose place it takes: they go when it has been written, and stay otherwise

    @property
    def moment(self) -> Moment:
        """When this is, for the header: an epoch counts when it is over."""
        return Moment(self.step, self.epoch if self.reason in {"epoch", "final"} else self.epoch - 1)


@dataclass(frozen=True, eq=False, slots=True)
class _Lost:
    """A file that does not stand in its place."""

    path: Path
    error: LoracoreError


class Saver:
    """Writes the network's files, in the main process; training waits for the copy of the adapters alone."""

    def __init__(self, header: Header, snapshots: Snapshots, writer: BackgroundWriter, retention: Retention) -> None:
        self._header, self._snapshots = header, snapshots
        self._writer, self._retention = writer, retention
        self._lost: _Lost | None = None  # the final file
        self._elsewhere: Path | None = None  # where it stands instead
        self._widened: set[Path] = set()

    def save(self, save: Save, ema: Ema | None, then: Callable[[LoracoreError | None], None]) -> None:
        """Write the network as it is now, or its moving average in its place.

        The dtype is that of training unless ``save_precision`` says another; averages, which are float32 however a run
        trains, are rounded to it once.

        ``then`` hears of it when it stands, or of why it does not. Files that it supersedes go after that: what hears
        of a file finds it.
        """
        shadow = self._snapshots.take({} if ema is None else ema.averages)
        series = self._series(save)
        old = [*save.gone, *([] if series is None else series[0].add(series[1]))]
        self._writer.submit(
            partial(self._write, save, shadow), save.path, partial(self._written, save, series, old, then)
        )

    @property
    def lacks_final(self) -> bool:
        """Tell whether the final file stands nowhere, and could stand in another place."""
        return not (self._lost is None or self._elsewhere is not None or isinstance(self._lost.error, WorthlessError))

    def check(self) -> None:
        """Raise LoracoreError when the final file could not be written; it says what is kept instead."""
        if self._lost is None:
            return
        names = ", ".join(map(str, self._kept())) or "nothing"
        saved = "" if self._elsewhere is None else f"; the trained network is saved in {self._elsewhere}"
        more = f"{saved}; kept: {names}"
        raise LoracoreError.of(replace(problem, fix=problem.fix + more) for problem in self._lost.error.problems)

    def _kept(self) -> list[Path]:
        """Return what a user can go on from: the newest of each series, and what is in none, such as the best files."""
        every = self._retention.all
        newest = [path for path in (series.newest for series in every) if path is not None]
        others = [path for path in self._writer.standing if not any(series.holds(path) for series in every)]
        return [*newest, *(path for path in others if path != self._elsewhere)]

    def _series(self, save: Save) -> tuple[Series, int] | None:
        """Return the series that the file belongs to and its number in it; None for those that always stay."""
        if save.reason == "epoch":
            return self._retention.of("network", "epoch"), save.epoch
        series = self._retention.of("network", "step")
        if save.reason in {"step", "stop"} and save.path == series.path(save.step):  # not where it went elsewhere
            return series, save.step
        return None

    def _write(self, save: Save, shadow: Shadow) -> None:
        """Write the file from the copy; on the writer's thread."""
        try:
            tensors = self._tensors(save.path, shadow)
        finally:
            self._snapshots.give_back(shadow)
        kind = self._header.config[SavingOptions].save_model_as
        write_network(save.path, tensors, self._header.metadata(save.moment), kind)

    def _tensors(self, path: Path, shadow: Shadow) -> dict[str, Tensor]:
        """Return the file's tensors; as trained where the precision that was asked for cannot hold them."""
        config = self._header.config
        trained = trained_dtype(config[ModelOptions])
        dtype = save_dtype(config[SavingOptions].save_precision, trained)
        tensors = shadow.file_tensors(dtype)
        self._widened.discard(path)
        if dtype in (trained, torch.float32) or all(map(is_finite, tensors.values())):
            return tensors
        self._widened.add(path)
        return shadow.file_tensors(trained)

    def widened(self, path: Path) -> bool:
        """Tell whether a file was written as trained, numbers being beyond the range of ``save_precision``."""
        return path in self._widened

    def _written(
        self,
        save: Save,
        series: tuple[Series, int] | None,
        old: Sequence[Path],
        then: Callable[[LoracoreError | None], None],
        error: LoracoreError | None,
    ) -> None:
        if save.reason == "final":
            self._judge(save.path, error)
        then(error)
        tidy = partial(_tidy, series)
        if error is None and old:
            self._writer.submit(partial(remove_all, old, Path.unlink), old[-1], tidy)
        else:
            tidy(error)

    def _judge(self, path: Path, error: LoracoreError | None) -> None:
        """Keep in mind what has become of the final file; it is tried at its own place first."""
        if error is not None:
            self._lost = self._lost or _Lost(path, error)
        elif self._lost is not None and path != self._lost.path:
            self._elsewhere = path
        else:
            self._lost = None


def _tidy(series: tuple[Series, int] | None, _: LoracoreError | None) -> None:
    if series is not None:
        series[0].tidy(series[1])
