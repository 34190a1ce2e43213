"""What the validations of a run have shown so far: the best ones, and how long there was no better one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from loracore.config.options import ValidationOptions


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from one validation."""

    best: bool  # no loss was as small before
    kept: bool  # its file belongs to the best ones
    dropped: tuple[int, ...] = ()  # steps whose files belong to them no longer
    stop: str | None = None  # why the run should end here


@dataclass(frozen=True, slots=True)
class _Kept:
    """One of the best steps; in the order of loss and step."""

    loss: float
    step: int


class Record:
    """The losses that count of those that came; a loss that is not finite is never better than another."""

    def __init__(self, options: ValidationOptions) -> None:
        self._options = options
        self._smallest = math.inf
        self._threshold_of = math.inf  # the loss that a better one is measured against
        self._waited = 0  # validations since that one
        self._kept: list[_Kept] = []
        self._abandoned: tuple[int, ...] = ()  # steps of files that the next best one takes the place of
        self.owed: int | None = None  # the step whose validation has begun, or was ended by a signal

    @property
    def kept(self) -> tuple[int, ...]:
        """The steps whose files are kept, the best one first."""
        return tuple(one.step for one in self._kept)

    def forget(self, steps: Collection[int]) -> None:
        """Keep steps no longer whose files are gone."""
        self._kept = [one for one in self._kept if one.step not in steps]

    def abandon(self, steps: Collection[int]) -> None:
        """Have the files of these steps dropped as soon as a file is kept."""
        self._abandoned = tuple(sorted({*self._abandoned, *steps}))

    def judge(self, step: int, loss: float) -> Verdict:
        """Take in the loss of a validation after ``step`` and return what follows from it."""
        best = loss < self._smallest
        if best:
            self._smallest = loss
        kept, dropped = self._place(step, loss)
        if kept:
            dropped, self._abandoned = (*dropped, *(one for one in self._abandoned if one != step)), ()
        return Verdict(best, kept, dropped, self._patience(step, loss))

    def _place(self, step: int, loss: float) -> tuple[bool, tuple[int, ...]]:
        """Put a loss among the smallest; return whether it is there, and the steps that had to go."""
        most, before = self._options.keep_best, self._kept
        others = [one for one in before if one.step != step]
        fresh = [_Kept(loss, step)] if math.isfinite(loss) else []
        self._kept = sorted([*others, *fresh], key=lambda one: (one.loss, one.step))[:most]
        known = {one.step for one in self._kept}
        return step in known, tuple(one.step for one in before if one.step not in known)

    def _patience(self, step: int, loss: float) -> str | None:
        """Return why the run should stop: there was no better loss for too long."""
        patience = self._options.early_stopping_patience
        if loss < self._threshold_of - self._options.early_stopping_threshold:
            self._threshold_of, self._waited = loss, 0
            return None
        self._waited += 1
        if patience is None or self._waited < patience:
            return None
        times = "validation" if patience == 1 else f"{patience} validations"
        return f"early stopping: no better validation loss in {times}, up to step {step}"

    def state(self) -> dict[str, Any]:
        """Return what a resumed run goes on from, as JSON holds it."""
        numbers = (self._smallest, self._threshold_of)
        return {
            "smallest": [number if math.isfinite(number) else None for number in numbers],
            "waited": self._waited,
            "owed": self.owed,
            "kept": [[one.loss, one.step] for one in self._kept],
            "abandoned": list(self._abandoned),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``."""
        self._smallest, self._threshold_of = (math.inf if one is None else float(one) for one in state["smallest"])
        self._waited, self.owed = int(state["waited"]), state["owed"]
        self._kept = [_Kept(float(loss), int(step)) for loss, step in state["kept"]]
        self._abandoned = tuple(int(step) for step in state["abandoned"])
