"""The peak of a phase of a run, by part; and what is known of a step beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loracore.memory.planning.block_counts import BlockCount
from loracore.memory.planning.treatment import Treatment

#: Parts of a peak, in the order in which they are shown; others are behind them.
WEIGHTS, SLOTS = "frozen weights", "slots of swapped blocks"
ADAPTERS, COPIES, AVERAGE = "adapters", "compute copies of adapters", "moving average"
OPTIMIZER, GRADIENTS = "optimizer state", "gradients"
INPUTS, BACKWARD, UPDATE = "inputs", "backward pass", "optimizer step"


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a run: bytes of the device at its peak, and whose they are; their sum is the peak."""

    name: str
    parts: Mapping[str, int]

    @property
    def peak(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class StepCount:
    """A step under one treatment."""

    treatment: Treatment
    phase: Phase
    blocks: Sequence[BlockCount]  # of the denoiser; empty: it names none
    flops: int  # of forward and backward pass, what is computed again included


def largest(phases: Sequence[Phase]) -> Phase:
    """Return the phase that takes most."""
    return max(phases, key=lambda phase: phase.peak)
