"""Is it the same work? Losses step by step, and the direction of the first gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: What the sides may differ by in bf16: of one step's loss, of the mean loss, and of the gradient's direction.
STEP, MEAN, COSINE = 1e-2, 2e-3, 0.999


@dataclass(frozen=True, slots=True)
class Gate:
    """How far two sides are apart."""

    step: float  # the largest difference of a step's losses, relative to ours
    mean: float  # the difference of the mean losses, relative to ours
    cosine: float  # between the gradients of the first step, all adapters as one vector

    @property
    def passed(self) -> bool:
        """Both sides do the same work."""
        return self.step < STEP and self.mean < MEAN and self.cosine > COSINE


def gate(ours: Sequence[float], theirs: Sequence[float], cosine: float) -> Gate:
    """Return how far losses are apart, beside the cosine. Raises ValueError unless both have as many steps."""
    apart = [abs(b - a) / abs(a) for a, b in zip(ours, theirs, strict=True)]
    total = sum(ours)
    return Gate(max(apart), abs(sum(theirs) - total) / abs(total), cosine)


def moved_cosine(start: Mapping[str, Tensor], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Return the cosine between the ways that both sides have gone from the start, over all tensors that train.

    One step of plain gradient descent goes against the gradient. Raises ValueError when the sides have trained other
    tensors.
    """
    names = [name for name in start if not name.endswith(".alpha")]
    for side in (ours, theirs):
        if not set(names) <= set(side):
            message = f"the sides train other adapters: {sorted(set(names) ^ set(side))[:3]} …"
            raise ValueError(message)
    first, second = (
        torch.cat([(side[name].double() - start[name]).flatten() for name in names]) for side in (ours, theirs)
    )
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))
