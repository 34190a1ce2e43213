"""How far two curves are apart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from benchmarks.peers.gate import Gate, gate, moved


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run has lost, and what has come of its adapters."""

    losses: tuple[float, ...]
    adapters: Mapping[str, Tensor]  # as they are in the file, float32


@dataclass(frozen=True, slots=True)
class Reference:
    """What every curve is held against."""

    plain: Curve
    other: Curve  # computed plainly, too, with other noise and timesteps
    start: Mapping[str, Tensor]  # the adapters before the first step

    def apart(self, found: Curve) -> Apart:
        """Return how far a curve is from the plain one. Raises ValueError where steps or adapters are others."""
        ways = moved(self.start, self.plain.adapters, found.adapters)
        seeds = _distance(self.plain.losses, self.other.losses)
        share = _distance(self.plain.losses, found.losses) / seeds
        return Apart(gate(self.plain.losses, found.losses, ways), share)


@dataclass(frozen=True, slots=True)
class Apart:
    """How far a curve is from the plain one."""

    gate: Gate  # losses, and as `gradient` the ways that the adapters have gone in all steps together
    share: float  # the mean of the absolute differences of losses, of that between two seeds


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return statistics.fmean(abs(b - a) for a, b in zip(one, other, strict=True))
