"""Long curves made short without losing a spike: the least and the greatest value of every pixel column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COLUMNS = 600

Floats = NDArray[np.float64]


def thinned(xs: Sequence[float], ys: Sequence[float], columns: int = COLUMNS) -> tuple[Floats, Floats]:
    """Return at most two points a column, in their order, for xs that rise; NaN among ys is left out.

    Short curves are returned as they are, with their NaN: a gap in them can be seen.
    """
    across, up = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    if len(across) <= 2 * columns:
        return across, up
    finite = np.isfinite(up)
    across, up = across[finite], up[finite]
    if len(across) <= 2 * columns:
        return across, up
    span = across[-1] - across[0]
    column = np.minimum(((across - across[0]) / span * columns).astype(np.int64), columns - 1)
    order = np.lexsort((up, column))  # in each column from the least to the greatest
    edges = np.flatnonzero(np.diff(column[order])) + 1
    least, greatest = np.concatenate(([0], edges)), np.concatenate((edges - 1, [len(order) - 1]))
    kept = np.unique(order[np.concatenate((least, greatest))])
    return across[kept], up[kept]
