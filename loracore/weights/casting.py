"""Tensors in another precision, where a number that it cannot hold is an error."""

from __future__ import annotations

import torch
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.weights.extremes import extremes


def cast(tensor: Tensor, dtype: torch.dtype, name: str, fix: str) -> Tensor:
    """Return the tensor in ``dtype``; what is not finite already stays so, and so do integers.

    Raises LoracoreError naming the tensor for numbers beyond the dtype's range: half precision would make them
    infinite, and float8 would put its largest number in their place.
    """
    if dtype == tensor.dtype or not tensor.is_floating_point():
        return tensor
    if not all(abs(number) <= torch.finfo(dtype).max for number in extremes(tensor)) and _exceeds(tensor, dtype):
        raise too_large(name, dtype, fix)
    return tensor.to(dtype)


def _exceeds(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether finite numbers are beyond a dtype's range."""
    exact = tensor if tensor.dtype == torch.float64 else tensor.float()  # float8 cannot be compared
    return bool(((exact.abs() > torch.finfo(dtype).max) & exact.isfinite()).any())


def too_large(name: str, dtype: torch.dtype, fix: str) -> LoracoreError:
    """Return the error that a tensor has numbers beyond a dtype's range."""
    largest = f"{torch.finfo(dtype).max:g}"
    return LoracoreError(f"{name} is too large for {str(dtype).removeprefix('torch.')} (at most {largest})", fix=fix)
