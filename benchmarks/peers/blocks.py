"""Blocks of steps and what they say: medians, and ratios with their lowest and highest pair."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.peers.recording import EVERY


@dataclass(frozen=True, slots=True)
class Block:
    """What one process of a trainer took."""

    clock: tuple[float, ...]  # s of each step behind the warm-up
    processor: tuple[float, ...]  # s of each of these steps, all threads of the process together
    device: tuple[float, ...]  # s of a step on the CUDA device's clock, means over ten steps; empty on the CPU
    losses: tuple[float, ...]  # of every step, those of the warm-up too
    order: tuple[str, ...]  # stems of the pictures
    first: float  # s from the start of the process to the end of its first step
    last: float  # and of its last one
    peak: int  # bytes
    reserved: int | None  # bytes that torch took from the CUDA device; None on the CPU


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast one side is as the other."""

    middle: float  # of the medians of all blocks
    lowest: float  # of the pairs
    highest: float


def read_block(path: Path, started: float, warm_up: int) -> Block:
    """Return what a process has written, which began at ``started`` (s since 1970); ``warm_up`` steps count not."""
    found = json.loads(path.read_text(encoding="utf-8"))
    every, first = found["moments"], found["first"] - started
    moments = every[warm_up - 1 :]  # a step ends where the next begins
    pairs = list(pairwise(moments))
    return Block(
        clock=tuple(after[0] - before[0] for before, after in pairs),
        processor=tuple(after[1] - before[1] for before, after in pairs),
        device=tuple(found["device"][_first_mark(warm_up) :]),
        losses=tuple(found["losses"]),
        order=tuple(found["order"]),
        first=first,
        last=first + every[-1][0] - every[0][0],
        peak=found["peak"],
        reserved=found["reserved"],
    )


def _first_mark(warm_up: int) -> int:
    """Return which mark (from 0) on the device's clock is the first at the end of the warm-up or behind it."""
    return max(0, -(-warm_up // EVERY) - 1)


def marked_steps(steps: int, warm_up: int) -> int:
    """Return how many means on the device's clock a block of so many steps has: one less than its marks there."""
    return max(0, steps // EVERY - 1 - _first_mark(warm_up))


def middle(several: Sequence[Sequence[float]]) -> float:
    """Return the median of the blocks' medians."""
    return statistics.median(statistics.median(one) for one in several)


def ratio(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Ratio:
    """Return how many times as many steps a second ours are; the n-th blocks of both sides are a pair."""
    pairs = [statistics.median(b) / statistics.median(a) for a, b in zip(ours, theirs, strict=True)]
    return Ratio(middle(theirs) / middle(ours), min(pairs), max(pairs))
