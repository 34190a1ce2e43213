"""A LoRA module of a file as two factors and a scale, whoever wrote it; with a third factor (Tucker) too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loracore.networks.alphas import alpha_of
from loracore.networks.spellings import ALPHA, DOWN, MID, UP
from loracore.networks.third_factor import folded
from loracore.weights.headers import Shape
from loracore.weights.singular import Singular, of_product


@dataclass(frozen=True, eq=False, slots=True)
class FactorPair:
    """The change scale · up · down, float32."""

    up: Tensor  # outputs, rank[, 1, 1]
    down: Tensor  # rank, inputs[, k, k]
    scale: float

    @property
    def rank(self) -> int:
        return len(self.down)


def is_low_rank(names: Collection[str]) -> bool:
    """Tell whether a module's tensors, by the names behind its key, are those of a LoRA and nothing else."""
    return {DOWN, UP} <= set(names) <= {DOWN, UP, ALPHA, MID}


def low_rank(tensors: Mapping[str, Tensor]) -> FactorPair:
    """Return a module's factors; a third one becomes a part of down, which changes nothing."""
    up, down = tensors[UP].float(), tensors[DOWN].float()
    alpha = alpha_of(tensors)
    scale = 1.0 if alpha is None else alpha / len(down)
    if MID in tensors:  # change[o, i, k, l] = Σ up[o, p] mid[p, q, k, l] down[q, i]
        down = folded(tensors[MID], down)
    return FactorPair(up, down, scale)


def change_shape(shapes: Mapping[str, Shape]) -> Shape | None:
    """Return the shape (outputs, inputs[, k, k]) of a module's change; None where its factors do not fit together."""
    up, down, mid = shapes[UP], shapes[DOWN], shapes.get(MID)
    if len(up) != len(down) or len(up) not in {2, 4} or up[2:] not in {(), (1, 1)}:
        return None
    inner, middle = (down[0], down[0]) if mid is None else (mid[0], mid[1] if len(mid) == len(down) else -1)
    if (up[1], down[0]) != (inner, middle):
        return None
    return (up[0], *down[1:]) if mid is None else (up[0], down[1], *mid[2:])


def stacked(parts: Sequence[tuple[FactorPair, float]], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the module that changes what the parts change together, each with its ratio: their ranks side by side.

    Where all scales are one, alpha keeps it and factors keep their numbers; otherwise they go into up, once.
    """
    rank, scales = sum(part.rank for part, _ in parts), {part.scale for part, _ in parts}
    shared = next(iter(scales)) if len(scales) == 1 and min(scales) > 0 else 1.0
    alpha, scale = _alpha(shared * rank, rank, dtype)
    shared = shared if alpha == shared * rank else scale  # alpha / rank may round
    ups = [part.up * (ratio * (part.scale / shared)) for part, ratio in parts]
    return {ALPHA: torch.tensor(alpha), DOWN: torch.cat([part.down for part, _ in parts]), UP: torch.cat(ups, dim=1)}


def truncated(singular: Singular, rank: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the module of this rank that comes nearest to a change."""
    up, down = singular.factors(rank)
    alpha, scale = _alpha(float(rank), rank, dtype)
    return {ALPHA: torch.tensor(alpha), DOWN: down, UP: up if scale == 1 else up / scale}


def decomposed(parts: Sequence[tuple[FactorPair, float]]) -> Singular:
    """Return the decomposition of what the parts change together, each with its ratio."""
    ups = [part.up * (part.scale * ratio) for part, ratio in parts]
    return of_product(torch.cat(ups, dim=1), torch.cat([part.down for part, _ in parts]))


def _alpha(wanted: float, rank: int, dtype: torch.dtype) -> tuple[float, float]:
    """Return an alpha that the precision holds without rounding, the nearest, and its scale alpha / rank."""
    held = float(torch.tensor(wanted, dtype=dtype).float())
    alpha = held if 0 < held < float("inf") else 1.0
    return alpha, alpha / rank
