"""Adapted Linear layers that compute as one: alone, or together with others that get the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore.networks.low_rank import LowRank, low_rank_linears
from loracore.networks.stacks import Stack


@dataclass(eq=False, slots=True)
class Strength:
    """By how much the adapters of a network are multiplied: one number that all of its layers read."""

    multiplier: float = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """A frozen, plain Linear layer and the factors of its change."""

    layer: nn.Linear
    factors: LowRank


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Layers that get the same inputs, with changes of one size and scale; most often a single one."""

    layers: Sequence[nn.Linear]
    down: Stack  # ranks, inputs: those of each layer, or one for all
    up: Stack  # layers, outputs, rank
    scale: float
    strength: Strength

    @staticmethod
    def of(pairs: Sequence[Pair], strength: Strength) -> Group:
        """Return the group of these layers, which must be `alike`."""
        first = pairs[0].factors
        downs = [first.down] if _shares_down(pairs) else [pair.factors.down for pair in pairs]
        ups = [rows for pair in pairs for rows in pair.factors.up]
        down, up = first.down.matrix, first.up[0].matrix
        ranks = sum(rows.stop - rows.start for rows in downs)
        return Group(
            [pair.layer for pair in pairs],
            Stack.of(downs, (ranks, down.shape[1])),
            Stack.of(ups, (len(pairs), pairs[0].layer.out_features, up.shape[1])),
            first.scale,
            strength,
        )

    def __call__(self, inputs: Tensor) -> Sequence[Tensor]:
        """Return the adapted output of every layer."""
        if self._silent():
            return [functional.linear(inputs, layer.weight, layer.bias) for layer in self.layers]
        down, up = self.down.tensor(inputs.dtype), self.up.tensor(inputs.dtype)
        return low_rank_linears(inputs, self.layers, down, up, self.scale * self.strength.multiplier)

    def one(self, place: int, inputs: Tensor) -> Tensor:
        """Return the adapted output of a single layer."""
        if len(self.layers) == 1:
            return self(inputs)[0]
        layer = self.layers[place]
        if self._silent():
            return functional.linear(inputs, layer.weight, layer.bias)
        down, up = self.down.tensor(inputs.dtype), self.up.tensor(inputs.dtype)[place : place + 1]
        rank = up.shape[2]
        if len(down) > rank:
            down = down[place * rank : (place + 1) * rank]
        return low_rank_linears(inputs, [layer], down, up, self.scale * self.strength.multiplier)[0]

    def _silent(self) -> bool:
        """Tell whether nothing is added; a loss needs its graph even then."""
        return self.strength.multiplier == 0 and not torch.is_grad_enabled()


def grouped_forward(group: Group, place: int) -> Callable[[Tensor], Tensor]:
    """Return what shadows the forward of a group's layer: inputs (…,in) → its adapted output (…,out).

    A partial of a function, not an object that can be called: torch.compile would make a graph for each of these.
    """
    return partial(_one_of, group, place)


def _one_of(group: Group, place: int, inputs: Tensor) -> Tensor:
    return group.one(place, inputs)


def project(layers: Sequence[nn.Module], inputs: Tensor) -> Sequence[Tensor]:
    """Return what each of the layers makes of the same inputs (…,in), adapters included: for attention and its kind.

    Layers that a network was told to compute together (`Network.attach`) do so, and hooks on the layers themselves are
    not called then; all others are called one after the other, and so are all under torch.compile, which joins what
    it can by itself.
    """
    group = _group_of(layers)
    return [layer(inputs) for layer in layers] if group is None else group(inputs)


def _group_of(layers: Sequence[nn.Module]) -> Group | None:
    """Return the group that is just these layers, in this order, none of them shadowed by anything else."""
    if torch.compiler.is_compiling():
        return None
    places = [_place_of(layer) for layer in layers]
    group = places[0][0]
    whole = group is not None and len(group.layers) == len(layers)
    return group if whole and all(one is group and at == n for n, (one, at) in enumerate(places)) else None


def _place_of(layer: nn.Module) -> tuple[Group | None, int]:
    forward: Any = layer.forward
    if isinstance(forward, partial) and forward.func is _one_of:
        return forward.args[0], forward.args[1]
    return None, 0


def is_plain(layer: nn.Module) -> bool:
    """Tell whether a layer is a Linear as torch has it, frozen and whole: not stored, shadowed or shared by anybody."""
    if type(layer) is not nn.Linear or "forward" in vars(layer):
        return False
    parameters = list(layer.parameters(recurse=False))
    # A sharded weight is a DTensor, which keeps its class as a parameter.
    return all(type(one) is nn.Parameter and not one.requires_grad for one in parameters)


def grouped(pairs: Mapping[int, Pair], together: Iterable[Sequence[nn.Module]], strength: Strength) -> Iterator[Group]:
    """Give every layer in a group; ``pairs`` are by the layer's id, ``together`` are layers that get the same inputs.

    These are one group where each of them has a pair and they are `alike`; otherwise each is one of its own.
    """
    left = dict(pairs)
    for layers in together:
        found = [pairs[id(layer)] for layer in layers if id(layer) in left]
        if len(found) == len(layers) > 1 and alike(found):
            yield Group.of([left.pop(id(pair.layer)) for pair in found], strength)
    for pair in left.values():
        yield Group.of([pair], strength)


def alike(pairs: Sequence[Pair]) -> bool:
    """Tell whether layers fit into one group: outputs, rank, scale and precision are the same.

    Either all have one and the same down factor, or each has its own.
    """
    kinds = {
        (
            pair.layer.out_features,
            pair.layer.weight.dtype,
            pair.factors.down.stop - pair.factors.down.start,
            pair.factors.scale,
            pair.factors.down.matrix.dtype,
            pair.factors.down.matrix.requires_grad,
        )
        for pair in pairs
    }
    downs = {(id(pair.factors.down.matrix), pair.factors.down.start) for pair in pairs}
    return len(kinds) == 1 and len(downs) in {1, len(pairs)}


def _shares_down(pairs: Sequence[Pair]) -> bool:
    downs = {(id(pair.factors.down.matrix), pair.factors.down.start) for pair in pairs}
    return len(downs) == 1
