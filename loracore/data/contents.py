"""What is inside the pictures of an index: the digests of their bytes, by which caches know them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loracore.data.cache_keys import KEY_BYTES, Keys
from loracore.data.index import Index, Rows
from loracore.data.sources import Source
from loracore.data.tables.digests import with_digests
from loracore.data.tables.picture_table import PictureTable
from loracore.errors import DataError, Problem

#: What tells tables apart: place, caption extension, fingerprint. One folder of several data sets is one table.
TableName = tuple[str, str, str]


@dataclass(frozen=True, eq=False, slots=True)
class Needed:
    """A table with the rows of it that are wanted."""

    table: PictureTable
    rows: Rows


def with_contents(index: Index, keep: Path | None) -> Index:
    """Return the index with digests of all its pictures and masks in its tables.

    Files are read only where their digest is not known from an earlier run. Raises DataError naming those that cannot
    be read any more.
    """
    wanted = needed([index])
    done = {name: with_digests(one.table, one.rows, keep, workers()) for name, one in wanted.items()}
    gone = [
        Problem("the picture cannot be read any more", str(table.path(row)))
        for name, table in done.items()
        for row in wanted[name].rows[~table.has_digest[wanted[name].rows]].tolist()
    ]
    if gone:
        raise DataError.of(gone)
    return replace(index, sources=tuple(_known(source, done) for source in index.sources))


def content_digests(index: Index) -> tuple[Keys, Keys]:
    """Return digests (n, 16) of the pictures' bytes, and of their masks' (zeros where there is none).

    The tables must have them: see ``with_contents``.
    """
    own, masks = (np.zeros((len(index), KEY_BYTES), dtype=np.uint8) for _ in range(2))
    for number, rows in _by_source(index):
        source, table_rows = index.sources[number], index.table_rows[rows].astype(np.int64)
        own[rows] = source.table.digests[table_rows]
        if source.masks is not None:
            masks[rows] = source.masks.table.digests[source.masks.rows[table_rows]]
    return own, masks


def changed_picture(index: Index, row: int) -> Path | None:
    """Return the picture or the mask of a row whose bytes are no more what its digest says; None: they are."""
    source, table_row = index.source(row), int(index.table_rows[row])
    if not _as_digested(source.table, table_row):
        return source.path(table_row)
    if source.masks is not None and not _as_digested(source.masks.table, int(source.masks.rows[table_row])):
        return source.mask(table_row)
    return None


def needed(indexes: Iterable[Index]) -> Mapping[TableName, Needed]:
    """Return every table, those of masks included, with those of its rows that some index has, each once."""
    tables: dict[TableName, PictureTable] = {}
    parts: dict[TableName, list[Rows]] = {}
    for table, rows in (pair for index in indexes for pair in _used(index)):
        tables.setdefault(table_name(table), table)
        parts.setdefault(table_name(table), []).append(rows)
    return {name: Needed(table, np.unique(np.concatenate(parts[name]))) for name, table in tables.items()}


def _by_source(index: Index) -> Iterator[tuple[int, Rows]]:
    """Give the rows of each source that has any."""
    yield from ((int(number), index.rows_of(int(number))) for number in np.unique(index.source_rows))


def workers() -> int:
    """Return how many threads read files whose bytes are all that matters."""
    return min(8, os.cpu_count() or 1)


def table_name(table: PictureTable) -> TableName:
    """Return what tells a table from others."""
    return table.origin.place, table.origin.caption_extension, table.origin.fingerprint


def _used(index: Index) -> Iterator[tuple[PictureTable, Rows]]:
    for number, some in _by_source(index):
        source, table_rows = index.sources[number], index.table_rows[some].astype(np.int64)
        yield source.table, table_rows
        if source.masks is not None:
            masks = source.masks.rows[table_rows]
            yield source.masks.table, masks[masks >= 0]  # a picture without one is the scan's business


def _known(source: Source, done: Mapping[TableName, PictureTable]) -> Source:
    """Return the source with the digests that its tables have got."""
    masks = source.masks
    if masks is not None:
        masks = replace(masks, table=_with(masks.table, done))
    return replace(source, table=_with(source.table, done), masks=masks)


def _with(table: PictureTable, done: Mapping[TableName, PictureTable]) -> PictureTable:
    new = done.get(table_name(table))
    return table if new is None else replace(table, digests=new.digests, has_digest=new.has_digest)


def _as_digested(table: PictureTable, row: int) -> bool:
    """Tell whether a file is what its digest says; a table without digests promises nothing."""
    if not table.has_digest[row]:
        return True
    with suppress(OSError):
        now = table.path(row).stat()
        if (now.st_mtime_ns, now.st_size) == (int(table.modified[row]), int(table.lengths[row])):
            return True
    # times alone may lie: on FAT they move with the hour of summer time
    again = with_digests(replace(table, has_digest=np.zeros(len(table), dtype=np.bool_)), [row], None, 1)
    return bool(again.has_digest[row] and np.array_equal(again.digests[row], table.digests[row]))
