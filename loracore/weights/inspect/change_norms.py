"""By how much a module of a network's file changes its weight (Frobenius norm), told by its tensors alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from loracore.networks.norms import product_square
from loracore.networks.spellings import DOWN, MID, UP
from loracore.weights.inspect.network_modules import FULL, LOHA, LOKR, LORA, NORM, TUCKER, Module

_ROWS = 256  # of a change that is looked at at once


def rank_of(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the rank that alpha is divided by; None for kinds, and for whole matrices, that have none."""
    for name, side in ((DOWN, 0), ("hada_w1_b", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0)):
        if name in tensors:
            return tensors[name].shape[side]
    return None


def change_norm(module: Module, tensors: Mapping[str, Tensor], scale: float) -> float | None:
    """Return ‖ΔW‖ at strength 1, ``scale`` (alpha / rank) included; None where only the base model's weight tells it.

    Nothing of the size of the layer is made: low-rank pairs need rank × rank products only, LoHa some rows at a time.
    """
    exact = {name: tensor.double() for name, tensor in tensors.items()}
    if module.kind == LORA:
        return pair_norm(exact[UP], exact[DOWN]) * abs(scale)
    if module.kind == TUCKER:
        return _tucker_norm(exact[UP], exact[MID], exact[DOWN]) * abs(scale)
    if module.kind == LOHA:
        return _loha_norm(exact) * abs(scale)
    if module.kind == LOKR:
        return _lokr_norm(exact, "1") * _lokr_norm(exact, "2") * abs(scale)
    if module.kind in {FULL, NORM}:
        whole = exact.get("diff", exact.get("w_norm"))
        return None if whole is None else float(whole.norm())
    return None


def pair_norm(up: Tensor, down: Tensor) -> float:
    """Return ‖U D‖ of up (outputs, r[, 1, 1]) and down (r, inputs[, k, k])."""
    return math.sqrt(float(product_square(up.flatten(1), down.flatten(1))))


def _tucker_norm(up: Tensor, mid: Tensor, down: Tensor) -> float:
    """Return ‖U M D‖ = ‖(R M) Q‖ of up (outputs, a), mid (a, b, k, k), down (b, inputs): U = Q'R, D = (Qᵀ)R'."""
    left, right = torch.linalg.qr(up.flatten(1))[1], torch.linalg.qr(down.flatten(1).T)[1]
    return float(torch.einsum("xa,abk,yb->xyk", left, mid.flatten(2), right).norm())


def _loha_norm(tensors: Mapping[str, Tensor]) -> float:
    """Return ‖(W₁ₐ W₁ᵦ) ∘ (W₂ₐ W₂ᵦ)‖ (Hyeon-Woo et al. 2022, arXiv 2108.06098, proposition 3 for convolutions)."""
    tucker = "hada_t1" in tensors
    left = [tensors[f"hada_w{number}_a"] for number in "12"]
    left = [one.T for one in left] if tucker else left  # with a core tensor, w_a is (r, outputs)
    square = 0.0
    for start in range(0, len(left[0]), _ROWS):
        rows = [_loha_rows(tensors, number, one[start : start + _ROWS]) for number, one in zip("12", left, strict=True)]
        square += float((rows[0] * rows[1]).square().sum())
    return math.sqrt(square)


def _loha_rows(tensors: Mapping[str, Tensor], number: str, left: Tensor) -> Tensor:
    right = tensors[f"hada_w{number}_b"].flatten(1)
    core = tensors.get(f"hada_t{number}")
    if core is None:
        return left @ right
    return torch.einsum("oi,ijk,jn->onk", left, core.flatten(2), right)


def _lokr_norm(tensors: Mapping[str, Tensor], number: str) -> float:
    """Return the norm of one factor of a Kronecker product, whose own is the product of both."""
    if f"lokr_w{number}" in tensors:
        return float(tensors[f"lokr_w{number}"].norm())
    left, right = tensors[f"lokr_w{number}_a"], tensors[f"lokr_w{number}_b"]
    core = tensors.get(f"lokr_t{number}")
    if core is None:
        return pair_norm(left, right)
    return _tucker_norm(left.T, core, right)  # with a core tensor, w_a is (r, outputs)
