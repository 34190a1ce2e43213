"""A file's modules as low-rank pairs: LoRA and DoRA, a third factor folded; what is another kind of network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from loracore.errors import Problem
from loracore.networks.alphas import alpha_of
from loracore.networks.spellings import ALPHA, DOWN, MAGNITUDE, MID, UP
from loracore.networks.third_factor import folded
from loracore.types import LoraTarget
from loracore.weights.casting import cast
from loracore.weights.headers import Shape
from loracore.weights.network_file import NetworkFile

#: "dora": with a magnitude for each row of the weight; one for each column is another kind, that PEFT does not have.
Kind = Literal["lora", "dora", "other"]


@dataclass(frozen=True, eq=False, slots=True)
class Factors:
    """A weight's change as up (outputs, r[, 1, 1]) · down (r, inputs[, k, k]) · scale, in the file's order of rows.

    With magnitudes (outputs) it is DoRA's: row by row the changed weight is brought to that norm.
    """

    down: Tensor
    up: Tensor
    scale: float
    magnitude: Tensor | None = None

    def cast(self, dtype: torch.dtype | None, name: str) -> Factors:
        """Return the tensors in a precision, or as they are without one."""
        if dtype is None:
            return self
        fix = "leave out --save_precision"
        down, up = (cast(one, dtype, name, fix) for one in (self.down, self.up))
        magnitude = None if self.magnitude is None else cast(self.magnitude, dtype, name, fix)
        return replace(self, down=down, up=up, magnitude=magnitude)


def kind_of(shapes: Mapping[str, Shape], target: LoraTarget) -> Kind:
    """Return what kind a module is of; ``shapes`` are its tensors' by what they are ("lora_up.weight", …)."""
    given = set(shapes) - {ALPHA, MID}
    if given == {DOWN, UP}:
        return "lora"
    if given != {DOWN, UP, MAGNITUDE}:
        return "other"
    first, *others = shapes[MAGNITUDE]
    return "dora" if first == outputs(target) and all(size == 1 for size in others) else "other"


def outputs(target: LoraTarget) -> int:
    """Return how many rows the file's weight has."""
    return sum(len(layer.weight) for layer in target.layers)


def misfit(shapes: Mapping[str, Shape], target: LoraTarget, where: str) -> Problem | None:
    """Return the problem of factors that do not fit the target's layers, or None."""
    weight = target.layers[0].weight
    down, up, mid = shapes[DOWN], shapes[UP], shapes.get(MID)
    inner = down[0]
    fits = torch.Size(down[1:]).numel() == (weight[0].numel() if mid is None else weight.shape[1])
    if mid is not None:
        fits = fits and mid[1] == down[0] and mid[2:] == weight.shape[2:]
        inner = mid[0]
    if fits and up[0] == outputs(target) and up[1] == inner:
        return None
    message = f"{target.key}: factors {list(down)} and {list(up)} do not fit a layer of "
    message += f"{outputs(target)} × {weight[0].numel()}"
    return Problem(message, where, "give the base model of its training")


def read_factors(file: NetworkFile, names: Mapping[str, str]) -> Factors:
    """Return a LoRA's or DoRA's factors; ``names`` are its tensors' in the file by what they are."""
    found = file.read(list(names.values()))
    tensors = {kind: found[name] for kind, name in names.items()}
    rank = tensors[UP].shape[1]
    alpha = alpha_of(tensors)
    scale = 1.0 if alpha is None else alpha / rank
    magnitude = tensors[MAGNITUDE].flatten() if MAGNITUDE in tensors else None
    return Factors(_whole_down(tensors), tensors[UP], scale, magnitude)


def _whole_down(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return down with a third factor folded into it: both before up, which nothing but up has to follow."""
    return folded(tensors[MID], tensors[DOWN]) if MID in tensors else tensors[DOWN]
