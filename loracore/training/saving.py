"""Saving the network while training goes on: a copy is taken at once, the file is written from it on a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from loracore.config.options import ModelOptions, SavingOptions
from loracore.errors import LoracoreError
from loracore.training.checkpoints import save_dtype, write_network
from loracore.training.ema import Ema
from loracore.training.metadata import Header, Moment
from loracore.training.retention import Retention, Series
from loracore.training.snapshots import Shadow, Snapshots
from loracore.training.updates.moving import trained_dtype
from loracore.training.writing import BackgroundWriter

#: Why a file is written: at an interval, at the end, for a better validation loss, because the run is to stop.
Reason = Literal["step", "epoch", "final", "best", "stop"]


@dataclass(frozen=True, slots=True)
class Save:
    """One file that is asked for."""

    path: Path
    step: int  # the last that was taken, 1-based
    epoch: int  # that this step belongs to, 1-based
    reason: Reason

    @property
    def moment(self) -> Moment:
        """When this is, for the header: an epoch counts when it is over."""
        return Moment(self.step, self.epoch if self.reason in {"epoch", "final"} else self.epoch - 1)


class Saver:
    """Writes the network's files, in the main process; training waits for the copy of the adapters alone."""

    def __init__(self, header: Header, snapshots: Snapshots, writer: BackgroundWriter, retention: Retention) -> None:
        self._header, self._snapshots = header, snapshots
        self._writer, self._retention = writer, retention
        self._lost: LoracoreError | None = None  # why the final file does not stand

    def save(self, save: Save, ema: Ema | None, then: Callable[[LoracoreError | None], None]) -> None:
        """Write the network as it is now, or its moving average in its place.

        ``then`` hears of it when it stands, or of why it does not. Files that it supersedes go after it has been read
        back.
        """
        shadow = self._snapshots.take({} if ema is None else ema.averages)
        series = self._series(save)
        old = [] if series is None else series[0].add(series[1])
        self._writer.submit(
            partial(self._write, save, shadow, old), save.path, partial(self._written, save, series, then)
        )

    def check(self) -> None:
        """Raise LoracoreError when the final file could not be written; it says what is kept instead."""
        if self._lost is None:
            return
        kept = [series.newest for series in self._retention.all]
        names = ", ".join(str(path) for path in kept if path is not None)
        problems = [
            replace(problem, fix=f"{problem.fix}; kept: {names or 'nothing'}") for problem in self._lost.problems
        ]
        raise LoracoreError.of(problems)

    def _series(self, save: Save) -> tuple[Series, int] | None:
        """Return the series that the file belongs to and its number in it; None for those that always stay."""
        if save.reason == "epoch":
            return self._retention.of("network", "epoch"), save.epoch
        if save.reason in {"step", "stop"}:
            return self._retention.of("network", "step"), save.step
        return None

    def _write(self, save: Save, shadow: Shadow, old: Sequence[Path]) -> None:
        """Write the file from the copy; on the writer's thread."""
        config = self._header.config
        saving = config[SavingOptions]
        try:
            tensors = shadow.file_tensors(save_dtype(saving.save_precision, trained_dtype(config[ModelOptions])))
        finally:
            self._snapshots.give_back(shadow)
        write_network(save.path, tensors, self._header.metadata(save.moment), saving.save_model_as)
        for path in old:
            with suppress(OSError):  # held open on Windows, for example; it goes with the next
                path.unlink()

    def _written(
        self,
        save: Save,
        series: tuple[Series, int] | None,
        then: Callable[[LoracoreError | None], None],
        error: LoracoreError | None,
    ) -> None:
        if save.reason == "final":
            self._lost = error
        if series is not None:
            series[0].tidy(series[1])
        then(error)
