"""Matrices in 8 bits with a scale for each row: numbers of a float8, or whole numbers of -127 to 127.

A row is one output of the layer. Its scale puts its largest number at the end of the range, so that neither a single
large row costs the others their precision, nor small weights fall below what float8 can hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: The largest number of 4 bits of exponent and 3 of mantissa (arXiv 2209.05433).
_FLOAT8_LARGEST = 448.0
_INT8_LARGEST = 127.0

#: Names of what is stored: (out, in) of 8 bits, and (out, 1) of float32.
ROW_PARTS = ("weight_codes", "weight_scale")


def store_fp8(weight: Tensor) -> Sequence[Tensor]:
    """Return (out, in) as float8_e4m3fn and the rows' scales: largest absolute number / 448."""
    scales = _scales(weight, _FLOAT8_LARGEST)
    return (weight.float() / scales).to(torch.float8_e4m3fn), scales


def store_int8(weight: Tensor) -> Sequence[Tensor]:
    """Return (out, in) rounded to whole numbers and the rows' scales: largest absolute number / 127."""
    scales = _scales(weight, _INT8_LARGEST)
    return (weight.float() / scales).round_().to(torch.int8), scales


def read_rows(stored: Sequence[Tensor], shape: Sequence[int], dtype: torch.dtype) -> Tensor:  # noqa: ARG001  # others ask
    """Return codes · scales (out, in) in ``dtype``; codes of both kinds are exact in 16 bits, products are rounded."""
    codes, scales = stored
    return codes.to(dtype, copy=True).mul_(scales)


def _scales(weight: Tensor, largest: float) -> Tensor:
    """Return (out, 1) in float32; 1 for a row of zeros, whose codes are then zeros and not 0 / 0."""
    peaks = weight.float().abs().amax(dim=1, keepdim=True)
    return torch.where(peaks > 0, peaks / largest, 1.0)
