"""The cheapest way, in time, to make a step fit into the memory that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from loracore.memory.planning.peaks import StepCount
from loracore.memory.planning.treatment import Treatment

#: Gives the count of a step under a treatment.
Count = Callable[[Treatment], StepCount]

#: So often more blocks are chosen, when the first choice turns out too small.
_TRIES = 3


def choose(count: Count, budget: int, most_swapped: int) -> StepCount:
    """Return the count under the cheapest treatment that fits into ``budget`` bytes; else under the smallest there is.

    In this order: everything kept; as few blocks as needed compute their activations again, those first that give most
    bytes for an operation; all of them do; all do, and as few blocks as needed wait in host memory, ``most_swapped`` at
    most.
    """
    kept = count(Treatment())
    if kept.phase.peak <= budget or not kept.blocks:
        return kept
    every = count(Treatment(checkpoints_all=True))
    if every.phase.peak > budget:
        return _swapping(count, budget, most_swapped) or (count(_swapped(most_swapped)) if most_swapped > 0 else every)
    return _some(count, kept, every, budget) or every


def cheapest_blocks(gains: Sequence[int], flops: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Return the places of blocks whose ``gains`` (bytes) add up to ``wanted``, all that gain if they never do.

    Those that give most bytes for an operation come first; who is not needed in the end is left out again.
    """
    useful = sorted((place for place, gain in enumerate(gains) if gain > 0), key=lambda at: flops[at] / gains[at])
    chosen, sum_of_gains = [], 0
    for place in useful:
        if sum_of_gains >= wanted:
            break
        chosen.append(place)
        sum_of_gains += gains[place]
    for place in sorted(chosen, key=lambda at: -flops[at]):
        if sum_of_gains - gains[place] >= wanted:
            chosen.remove(place)
            sum_of_gains -= gains[place]
    return tuple(sorted(chosen))


def _some(count: Count, kept: StepCount, every: StepCount, budget: int) -> StepCount | None:
    """Return the count with some blocks computed again, None where no small number of them is enough."""
    pairs = list(zip(kept.blocks, every.blocks, strict=True))
    gains = [before.kept - after.kept for before, after in pairs]
    flops = [before.flops for before, _ in pairs]
    wanted = kept.phase.peak - budget
    for _ in range(_TRIES):
        places = cheapest_blocks(gains, flops, wanted)
        if len(places) == len(gains):
            return None
        found = count(Treatment(checkpointed=places))
        if found.phase.peak <= budget:
            return found
        wanted = sum(gains[place] for place in places) + found.phase.peak - budget
    return None


def _swapping(count: Count, budget: int, most: int) -> StepCount | None:
    """Return the count with as few swapped blocks as fit, None where even the most are too few."""
    low, high = 1, most
    found = None
    while low <= high:
        middle = (low + high) // 2
        tried = count(_swapped(middle))
        if tried.phase.peak <= budget:
            found, high = tried, middle - 1
        else:
            low = middle + 1
    return found


def _swapped(blocks: int) -> Treatment:
    return replace(Treatment(checkpoints_all=True), swapped=blocks)
