"""What became of every step: numbers read from the device a few steps late, so that no step waits for them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from loracore.networks.network import NormLimits
from loracore.training.steps.arriving import Arriving, arriving
from loracore.training.telling.json_numbers import json_number

LAG = 4  # steps between a loss and its reading

#: Gives, to every process, the names that each of them has.
Gathering = Callable[[Sequence[str]], Sequence[str]]


@dataclass(frozen=True, eq=False, slots=True)
class TakenStep:
    """One optimizer step that has just been asked of the device."""

    step: int  # 1-based
    epoch: int  # 1-based
    ids: tuple[str, ...]  # of this process's samples
    loss: Tensor  # scalar: the mean over the samples of all processes
    grad_norm: Tensor  # scalar, before clipping
    bad: Tensor  # scalar: 1 when loss or gradient was not finite, and nothing was applied
    sample_losses: Tensor | None = None  # one for each of ids; None: only the whole is known
    rates: Mapping[str, float] = field(default_factory=dict)  # learning rate by parameter group
    #: d * lr by parameter group, where the optimizer finds d
    adapted_rates: Mapping[str, float | Tensor] = field(default_factory=dict)
    norms: NormLimits | None = None  # with scale_weight_norms

    def numbers(self) -> Tensor:
        """Return everything that is read of every step as one vector (float32, on the device)."""
        norms = () if self.norms is None else (self.norms.keys_scaled, self.norms.average, self.norms.largest)
        found = [one for one in self.adapted_rates.values() if isinstance(one, Tensor)]
        scalars = (self.loss, self.grad_norm, self.bad, *norms, *found)
        return torch.stack([one.detach().float().reshape(()) for one in scalars])


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step as plain numbers."""

    step: int  # 1-based
    epoch: int  # 1-based
    loss: float
    average: float | None  # of the losses of the last epoch's worth of applied steps
    grad_norm: float
    skipped: bool  # loss or gradient was not finite, and nothing was applied
    ids: tuple[str, ...]  # of this process's samples
    bad_ids: tuple[str, ...] = ()  # of a skipped step, of all processes: who made its loss bad, or else all its samples
    rates: Mapping[str, float] = field(default_factory=dict)
    adapted_rates: Mapping[str, float] = field(default_factory=dict)
    keys_scaled: int | None = None  # adapters that scale_weight_norms scaled down in this step
    average_key_norm: float | None = None
    max_key_norm: float | None = None

    def values(self) -> dict[str, Any]:
        """Return what the event "step" holds; a number that JSON does not know (NaN, infinity) is None there."""
        values: dict[str, Any] = {
            "epoch": self.epoch,
            "loss": json_number(self.loss),
            "average": self.average,
            "grad_norm": json_number(self.grad_norm),
            "skipped": self.skipped,
            "lr": dict(self.rates),
        }
        if self.adapted_rates:
            values["d_lr"] = dict(self.adapted_rates)
        if self.keys_scaled is not None:
            norms = {"average_key_norm": self.average_key_norm, "max_key_norm": self.max_key_norm}
            values |= {"keys_scaled": self.keys_scaled, **norms}
        return values


class _Latest:
    """The latest of some numbers, and their mean without adding all of them up: an epoch may have a million steps.

    Numbers are float32: each is a whole number of 2^-149, so that their sum is exact, whatever came before.
    """

    def __init__(self, most: int) -> None:
        self._numbers: deque[float] = deque(maxlen=most)
        self._sum = 0  # in units of 2^-149

    def append(self, number: float) -> None:
        if len(self._numbers) == self._numbers.maxlen:
            self._sum -= _units(self._numbers[0])
        self._sum += _units(number)
        self._numbers.append(number)

    def fill(self, numbers: Iterable[float]) -> None:
        """Hold these in the place of all others."""
        self._numbers.clear()
        self._sum = 0
        for number in numbers:
            self.append(number)

    @property
    def values(self) -> list[float]:
        return list(self._numbers)

    @property
    def mean(self) -> float | None:
        return self._sum / (len(self._numbers) << _BITS) if self._numbers else None


_BITS = 149


def _units(number: float) -> int:
    """Return a float32 as a whole number of 2^-149."""
    return int(number * 2.0**_BITS)


class History:
    """The steps of a run, read ``lag`` steps late; the moving average of their loss over ``window`` of them.

    ``gathered`` joins the names of all processes; it is called for skipped steps alone, by every process.
    """

    def __init__(self, window: int, lag: int = LAG, gathered: Gathering | None = None) -> None:
        self._lag = lag
        self._gathered = gathered
        self._pending: deque[tuple[TakenStep, Arriving]] = deque()
        self._losses = _Latest(max(1, window))
        self._read_here = 0  # steps of this process's life
        self.in_a_row = 0  # skipped steps since the last one that was applied
        self.skipped = 0
        self.skipped_here = 0  # in this process's life
        self.last_bad_ids: tuple[str, ...] = ()  # of the last skipped step

    def push(self, taken: TakenStep) -> list[StepRecord]:
        """Remember a step; return those that have become known, which are ``lag`` steps old."""
        self._pending.append((taken, arriving(taken.numbers())))
        return self._read(self._lag)

    def settle(self, *, alone: bool = False) -> list[StepRecord]:
        """Read everything: what is saved afterwards rests on steps that are known. Return what has become known.

        ``alone`` asks no other process: it may be elsewhere, or gone. Skipped steps then name own samples only.
        """
        if alone:
            self._gathered = None
        return self._read(0)

    @property
    def average(self) -> float | None:
        """The mean loss over the last epoch's worth of applied steps; None before the first."""
        return self._losses.mean

    @property
    def nothing_applied(self) -> bool:
        """Tell whether steps were read in this process's life, and every one of them had been skipped."""
        return 0 < self._read_here == self.skipped_here

    @property
    def never_applied(self) -> bool:
        """Tell whether every step of the whole run that is known was skipped, of its earlier lives too."""
        return self.average is None

    def state(self) -> dict[str, Any]:
        """Return what a resumed run goes on from, as JSON holds it; everything must have been read."""
        assert not self._pending, "settle comes before state"
        return {"losses": self._losses.values, "skipped": self.skipped, "in_a_row": self.in_a_row}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``."""
        self._losses.fill(float(loss) for loss in state["losses"])
        self.skipped, self.in_a_row = int(state["skipped"]), int(state["in_a_row"])

    def _read(self, left: int) -> list[StepRecord]:
        records = []
        while len(self._pending) > left:
            taken, numbers = self._pending.popleft()
            records.append(self._record(taken, numbers.values()))
        return records

    def _record(self, taken: TakenStep, numbers: Sequence[float]) -> StepRecord:
        loss, grad_norm, bad = numbers[0], numbers[1], bool(numbers[2])
        norms, rest = (numbers[3:6], numbers[6:]) if taken.norms is not None else ((), numbers[3:])
        self._count(loss, bad=bad)
        if bad:
            self.last_bad_ids = self._bad_ids(taken)
        return StepRecord(
            step=taken.step,
            epoch=taken.epoch,
            loss=loss,
            average=self.average,
            grad_norm=grad_norm,
            skipped=bad,
            ids=taken.ids,
            bad_ids=self.last_bad_ids if bad else (),
            rates=taken.rates,
            adapted_rates=_adapted(taken.adapted_rates, rest),
            keys_scaled=int(norms[0]) if norms else None,
            average_key_norm=norms[1] if norms else None,
            max_key_norm=norms[2] if norms else None,
        )

    def _count(self, loss: float, *, bad: bool) -> None:
        self._read_here += 1
        if bad:
            self.skipped += 1
            self.skipped_here += 1
            self.in_a_row += 1
        else:
            self._losses.append(loss)
            self.in_a_row = 0

    def _bad_ids(self, taken: TakenStep) -> tuple[str, ...]:
        """Return the samples whose own loss is not finite or, when no loss tells, all samples of the step."""
        losses = [] if taken.sample_losses is None else taken.sample_losses.tolist()
        own = [name for name, loss in zip(taken.ids, losses, strict=False) if not math.isfinite(loss)]
        if self._gathered is None:
            return tuple(own) or taken.ids
        guilty, everyone = self._gathered(own), self._gathered(taken.ids)
        return tuple(guilty) or tuple(everyone)


def _adapted(rates: Mapping[str, float | Tensor], read: Sequence[float]) -> Mapping[str, float]:
    """Return rates of which those on the device have been read, in their order."""
    numbers = iter(read)
    return {name: next(numbers) if isinstance(rate, Tensor) else rate for name, rate in rates.items()}
