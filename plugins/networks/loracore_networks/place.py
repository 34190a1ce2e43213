"""The weight that a target's change belongs to, as files see it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from loracore import ConfigError, LoraTarget


@dataclass(frozen=True, slots=True)
class Place:
    """The shape of the weight of all layers of a target, their rows one below the other, and where tensors start."""

    shape: tuple[int, ...]  # outputs, inputs[, k, k]
    device: torch.device  # meta, or the CPU, whatever the layers' device: a seed then starts every machine alike

    @staticmethod
    def of(target: LoraTarget) -> Place:
        """Return a target's place."""
        first = target.layers[0].weight
        outputs = sum(len(layer.weight) for layer in target.layers)
        return Place((outputs, *first.shape[1:]), torch.device("meta" if first.is_meta else "cpu"))

    @property
    def outputs(self) -> int:
        return self.shape[0]

    @property
    def inputs(self) -> int:
        return self.shape[1]

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def columns(self) -> int:
        """The inputs of the weight as a matrix: inputs · k · k."""
        return math.prod(self.shape[1:])

    @property
    def is_large(self) -> bool:
        """Whether this is a convolution with a kernel above 1×1."""
        return max(self.kernel, default=1) > 1


def refuse_separate(target: LoraTarget, network: str) -> None:
    """Raise ConfigError for layers that ask for factors of their own: only a LoRA's can be joined in the file."""
    if target.separate:
        message = f"'{target.key}': {network} changes the rows of all its layers at once, not each layer for itself"
        raise ConfigError(message, fix="leave out split_qkv, or train a LoRA")
