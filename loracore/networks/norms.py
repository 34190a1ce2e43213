"""Norms of weight changes, and by how much to shrink those that are too large (scale_weight_norms)."""

from __future__ import annotations

import torch
from torch import Tensor


def product_square(up: Tensor, down: Tensor) -> Tensor:
    """Return ‖UD‖² of up (outputs, r) and down (r, inputs): tr(UᵀU · DDᵀ), r × r products, never a layer's size.

    In float32 or float64: of factors in fp16 the products overflow or become 0.
    """
    up, down = (one if one.dtype == torch.float64 else one.float() for one in (up, down))
    return ((up.T @ up) * (down @ down.T)).sum().clamp(min=0)


def limiting_factor(norm: Tensor, largest: float) -> Tensor:
    """Return by what a change of this norm is multiplied, in (0, 1]."""
    return (largest / norm.clamp(min=largest / 2)).clamp(max=1)
