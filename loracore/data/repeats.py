"""How often pictures are repeated, and which are held out: pure functions of numbers."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def balanced_repeats(own: Counts, target: int) -> Counts:
    """Return how often each regularisation picture is seen so that there are at least ``target`` samples of them.

    ``own`` are their ``num_repeats``, in the order of subsets and names. Pictures are taken with these until there are
    enough; those that are left over are not used (0). Where all of them are too few, each gets one repeat more in
    turn. The first picture that reaches the target may overshoot it.
    """
    before = np.cumsum(own) - own
    taken = np.where(before < target, own, 0)
    lacking = target - int(taken.sum())
    if lacking <= 0 or not len(own):
        return taken
    rounds, rest = divmod(lacking, len(own))
    return taken + rounds + (np.arange(len(own)) < rest)


def held_out(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return which of ``count`` pictures, sorted by path, are trained on and which are held out for validation.

    Both are in the order of one shuffle; the last ``round(count * share)`` are held out (halves to the even number),
    so that no picture is in both. For the same seed this is the field's own split, wherever that one has no overlap.
    """
    shuffled = list(range(count))
    random.Random(seed).shuffle(shuffled)  # noqa: S311  # a split, not a secret
    kept = count - round(count * share)
    return shuffled[:kept], shuffled[kept:]
