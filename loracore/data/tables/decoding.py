"""Which pictures can really be decoded: each is tried once, and what came of it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracore.data.pictures.images import inspect
from loracore.data.tables.kept_tables import save_table
from loracore.data.tables.picture_table import Decoded, PictureTable
from loracore.data.tables.row_pool import in_parcels
from loracore.errors import DataError

_PARCEL = 16  # pictures


def check_decoding(
    table: PictureTable,
    rows: Iterable[int] | NDArray[np.integer[Any]],
    keep: Path | None,
    workers: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[PictureTable, Mapping[int, str]]:
    """Return the table with these rows tried, and the broken ones with the reason; broken ones are tried every time.

    ``progress`` is told how many have been tried so far. What is known is kept, also after an interruption.
    """
    wanted = np.unique(np.fromiter(rows, np.int64))
    untried = wanted[table.decoded[wanted] != Decoded.WHOLE]
    if not len(untried):
        return table, {}
    decoded, sizes = table.decoded.copy(), table.sizes.copy()
    reasons: dict[int, str] = {}
    try:
        for number, (parcel, found) in enumerate(in_parcels(partial(_try, table), untried, workers, _PARCEL)):
            decoded[parcel], sizes[parcel], broken = found
            reasons |= broken
            if progress is not None:
                progress(number * _PARCEL + len(parcel))
    finally:
        table = _kept(table, decoded, sizes, keep)
    return table, reasons


def _try(table: PictureTable, rows: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint32], Mapping[int, str]]:
    """Return what came of each picture, its size (what decoding finds is what training gets), and the reasons."""
    decoded = np.full(len(rows), Decoded.WHOLE, np.uint8)
    sizes = table.sizes[rows]
    reasons: dict[int, str] = {}
    for place, row in enumerate(rows):
        try:
            sizes[place] = inspect(table.path(row))
        except DataError as error:
            decoded[place] = Decoded.BROKEN
            reasons[row] = error.problems[0].message
    return decoded, sizes, reasons


def _kept(
    table: PictureTable, decoded: NDArray[np.uint8], sizes: NDArray[np.uint32], keep: Path | None
) -> PictureTable:
    if np.array_equal(decoded, table.decoded) and np.array_equal(sizes, table.sizes):
        return table
    done = replace(table, decoded=decoded, sizes=sizes)
    return done if keep is None else save_table(keep, done)
