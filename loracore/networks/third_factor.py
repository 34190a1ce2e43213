"""The third factor of a convolution (Tucker decomposition): up · mid · down."""

from __future__ import annotations

import torch
from torch import Tensor


def folded(mid: Tensor, down: Tensor) -> Tensor:
    """Return mid (a, b, k, k) · down (b, inputs, 1, 1) in float32: a down factor (a, inputs, k, k), without loss."""
    return torch.einsum("rskl,si->rikl", mid.float(), down.flatten(1).float())
