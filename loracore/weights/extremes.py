"""The least and the largest number of a tensor: whether all are finite, and what a precision can hold."""

from __future__ import annotations

import math

from torch import Tensor


def extremes(tensor: Tensor) -> tuple[float, float]:
    """Return the least and the largest number; NaN where there is any, zeros for an empty tensor.

    One pass without another tensor: ``isfinite().all()`` takes ten times as long.
    """
    if not tensor.numel():
        return 0.0, 0.0
    least, largest = (tensor.float() if tensor.itemsize == 1 else tensor).aminmax()  # float8 cannot be compared
    return float(least), float(largest)


def is_finite(tensor: Tensor) -> bool:
    """Tell whether all numbers of a tensor are finite."""
    return not tensor.is_floating_point() or all(map(math.isfinite, extremes(tensor)))
