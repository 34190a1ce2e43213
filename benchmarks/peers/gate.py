"""Is it the same work? Losses step by step, and the direction and the length of the first gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: What the sides may differ by in bf16: of one step's loss, of the mean loss, of the gradient's direction and length.
STEP, MEAN, COSINE, LENGTH = 1e-2, 2e-3, 0.999, 1e-2


@dataclass(frozen=True, slots=True)
class Moved:
    """How the ways compare that both sides have gone, all adapters as one vector."""

    cosine: float
    length: float  # theirs, relative to ours; not a number where ours is 0


@dataclass(frozen=True, slots=True)
class Gate:
    """How far two sides are apart."""

    step: float  # the largest difference of a step's losses, relative to ours
    mean: float  # the difference of the mean losses, relative to ours
    gradient: Moved  # of the first step

    @property
    def passed(self) -> bool:
        """Both sides do the same work."""
        alike = self.gradient.cosine > COSINE and abs(self.gradient.length - 1) < LENGTH
        return self.step < STEP and self.mean < MEAN and alike


def gate(ours: Sequence[float], theirs: Sequence[float], gradient: Moved) -> Gate:
    """Return how far losses are apart, beside the gradients. Raises ValueError unless both have as many steps."""
    apart = [abs(b - a) / abs(a) for a, b in zip(ours, theirs, strict=True)]
    total = sum(ours)
    return Gate(max(apart), abs(sum(theirs) - total) / abs(total), gradient)


def furthest(gates: Sequence[Gate]) -> Gate:
    """Return the gate that says most against the same work: one that has not passed before all that have."""
    return max(gates, key=lambda one: (not one.passed, one.step))


def moved(start: Mapping[str, Tensor], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Moved:
    """Return how both sides have moved from the start, over all tensors that train.

    One step of plain gradient descent goes against the gradient, as far as that is long. Raises ValueError when a side
    has trained other tensors than those of the start.
    """
    names = _trained(start)
    for side in (ours, theirs):
        if set(names) != set(_trained(side)):
            message = f"the sides train other adapters: {sorted(set(names) ^ set(_trained(side)))[:3]} …"
            raise ValueError(message)
    first, second = (
        torch.cat([(side[name].double() - start[name]).flatten() for name in names]) for side in (ours, theirs)
    )
    cosine = float(torch.nn.functional.cosine_similarity(first, second, dim=0))
    return Moved(cosine, float(second.norm() / first.norm()))


def _trained(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name in tensors if not name.endswith(".alpha")]
