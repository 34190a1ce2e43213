"""What pictures are by content: digests of their files, and which files hold the same bytes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracore.data.pictures.headers import READ_FLAGS
from loracore.data.pictures.same_file import real_paths
from loracore.data.tables.kept_tables import save_table
from loracore.data.tables.picture_table import DIGEST, PictureTable
from loracore.data.tables.row_pool import in_parcels

_BLOCK = 1 << 20  # bytes that are read at once
_PARCEL = 64  # pictures


def with_digests(
    table: PictureTable, rows: Iterable[int] | NDArray[np.integer[Any]], keep: Path | None, workers: int
) -> PictureTable:
    """Return the table with the digests of these rows; those that it lacked are kept, also after an interruption.

    A file that cannot be read has no digest afterwards.
    """
    wanted = np.unique(np.fromiter(rows, np.int64))
    missing = wanted[~table.has_digest[wanted]]
    if not len(missing):
        return table
    digests, known = table.digests.copy(), table.has_digest.copy()
    try:
        for parcel, (found, readable) in in_parcels(partial(_digests, table), missing, workers, _PARCEL):
            digests[parcel], known[parcel] = found, readable
    finally:
        done = replace(table, digests=digests, has_digest=known)
        if keep is not None:
            done = save_table(keep, done)
    return done


def equal_lengths(tables: Sequence[PictureTable]) -> list[NDArray[np.int64]]:
    """Return the rows of each table whose pictures may be the same as another: equal length, and equal size."""
    marks = [_marks(table) for table in tables]
    every = np.concatenate([np.zeros((0, 3), np.int64), *marks])
    _, kinds, counts = np.unique(every, axis=0, return_inverse=True, return_counts=True)
    shared = (counts[kinds.reshape(-1)] > 1) & (every[:, 0] > 0)
    ends = np.cumsum([len(table) for table in tables], dtype=np.int64)
    return [np.flatnonzero(part) for part in np.split(shared, ends)[:-1]]


def same_pictures(tables: Sequence[PictureTable], workers: int = 1) -> list[list[tuple[int, int]]]:
    """Return groups of (table, row) whose files are different files with the same bytes.

    Only files of equal length are hashed, and of them those that have no digest yet: give ``with_digests`` the rows of
    ``equal_lengths`` first where digests are to be kept.
    """
    groups: defaultdict[bytes, dict[str, tuple[int, int]]] = defaultdict(dict)
    real = real_paths()
    for number, (table, rows) in enumerate(zip(tables, equal_lengths(tables), strict=True)):
        hashed = with_digests(table, rows, None, workers)
        for row in rows[hashed.has_digest[rows]].tolist():
            # a folder that two tables list holds every picture once
            groups[hashed.digests[row].tobytes()].setdefault(real(table.path(row)), (number, row))
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def _marks(table: PictureTable) -> NDArray[np.int64]:
    """Return length, width and height of each picture."""
    return np.column_stack([table.lengths, table.sizes.astype(np.int64)])


def _digests(table: PictureTable, rows: Sequence[int]) -> tuple[NDArray[np.uint8], list[bool]]:
    """Return the digest of each picture, zeros where it cannot be read, and whether it can."""
    found = [_digest(table.path(row)) for row in rows]
    together = b"".join(digest or bytes(DIGEST) for digest in found)
    return np.frombuffer(together, np.uint8).reshape(-1, DIGEST), [digest is not None for digest in found]


def _digest(path: Path) -> bytes | None:
    """Return BLAKE2b of a file's bytes; hashing lets other threads run."""
    digest = blake2b(digest_size=DIGEST)
    with suppress(OSError):
        file = os.open(path, READ_FLAGS)
        try:
            while block := os.read(file, _BLOCK):
                digest.update(block)
        finally:
            os.close(file)
        return digest.digest()
    return None
