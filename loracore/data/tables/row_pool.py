"""Work on many rows of a table in threads, in few parcels: a future for each of a million rows takes a gigabyte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Answer = TypeVar("Answer")


def in_parcels(
    work: Callable[[Sequence[int]], Answer], rows: NDArray[np.int64], workers: int, size: int
) -> Iterator[tuple[NDArray[np.int64], Answer]]:
    """Give the rows in parcels of ``size``, each with what ``work`` makes of it; leaving early drops the rest."""
    parcels = [rows[first : first + size] for first in range(0, len(rows), size)]
    pool = ThreadPoolExecutor(workers)
    try:
        yield from zip(parcels, pool.map(lambda parcel: work(parcel.tolist()), parcels), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)
