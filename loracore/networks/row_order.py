"""The order of a weight's rows in files, where it is another than the layer's."""

from __future__ import annotations

import torch
from torch import Tensor


def swap_halves(tensor: Tensor) -> Tensor:
    """Return the tensor with the second half of its rows first."""
    return torch.cat(tensor.chunk(2)[::-1])
