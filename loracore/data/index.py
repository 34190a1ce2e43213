"""Every picture of a run as columns: what sampling, loading and telling read, a few bytes a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from loracore.data.buckets import Size
from loracore.data.framings import Framings, joined
from loracore.data.pictures.picture import Picture
from loracore.data.sources import Source
from loracore.types import Framing

Rows = NDArray[np.int64]
Number = TypeVar("Number", np.uint16, np.uint32)


@dataclass(frozen=True, eq=False, slots=True)
class Index:
    """The pictures of a run, one row each, by data set, subset and name."""

    sources: tuple[Source, ...]
    framings: Framings  # one row for each that occurs
    bucket_list: tuple[tuple[int, Size], ...]  # (data set, training size), sorted
    source_rows: NDArray[np.uint16]  # into sources
    table_rows: NDArray[np.uint32]  # into the source's table
    framing_rows: NDArray[np.uint32]  # into framings
    buckets: NDArray[np.uint16]  # into bucket_list
    repeats: NDArray[np.uint32]  # times an epoch
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.source_rows)

    @property
    def samples(self) -> int:
        """The number of samples of an epoch: pictures with their repeats."""
        return int(self.repeats.sum())

    def source(self, row: int) -> Source:
        return self.sources[int(self.source_rows[row])]

    def path(self, row: int) -> Path:
        return self.source(row).path(int(self.table_rows[row]))

    def caption(self, row: int) -> str:
        """Return the picture's caption as its file says it, class_tokens where there is none, or nothing."""
        return self.source(row).caption(int(self.table_rows[row]))

    def framing(self, row: int) -> Framing:
        return self.framings[int(self.framing_rows[row])]

    def picture(self, row: int) -> Picture:
        """Return all of one picture."""
        source, table_row = self.source(row), int(self.table_rows[row])
        return Picture(
            row=row,
            path=source.path(table_row),
            caption=source.caption(table_row),
            framing=self.framing(row),
            dataset=source.dataset,
            subset=source.subset,
            mask=source.mask(table_row),
            subset_number=source.number,
        )

    def take(self, rows: Rows | NDArray[np.bool_]) -> Index:
        """Return some rows, in this order."""
        return replace(
            self,
            source_rows=self.source_rows[rows],
            table_rows=self.table_rows[rows],
            framing_rows=self.framing_rows[rows],
            buckets=self.buckets[rows],
            repeats=self.repeats[rows],
        )

    def rows_of(self, source: int) -> Rows:
        """Return the rows of one source."""
        return np.flatnonzero(self.source_rows == source)


def joined_indexes(first: Index, second: Index) -> Index:
    """Return the rows of one index, and behind them those of another; warnings are the first one's."""
    bucket_list = tuple(sorted({*first.bucket_list, *second.bucket_list}))
    numbers = {bucket: number for number, bucket in enumerate(bucket_list)}
    buckets = [
        np.array([numbers[bucket] for bucket in one.bucket_list], dtype=np.uint16)[one.buckets]
        for one in (first, second)
    ]
    return Index(
        sources=(*first.sources, *second.sources),
        framings=joined([first.framings, second.framings]),
        bucket_list=bucket_list,
        source_rows=_behind(first.source_rows, second.source_rows, len(first.sources)),
        table_rows=np.concatenate([first.table_rows, second.table_rows]),
        framing_rows=_behind(first.framing_rows, second.framing_rows, len(first.framings)),
        buckets=np.concatenate(buckets),
        repeats=np.concatenate([first.repeats, second.repeats]),
        warnings=first.warnings,
    )


def _behind(first: NDArray[Number], second: NDArray[Number], offset: int) -> NDArray[Number]:
    """Return two columns one behind the other; what the second counts begins at ``offset``."""
    return np.concatenate([first, second + second.dtype.type(offset)])


def bucket_numbers(datasets: Rows, sizes: NDArray[np.int64]) -> tuple[tuple[tuple[int, Size], ...], Rows]:
    """Return every (data set, training size) that occurs, sorted, and its number for each row."""
    keys = np.stack([datasets, sizes[:, 0], sizes[:, 1]], axis=1)
    distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
    found = tuple((int(dataset), (int(width), int(height))) for dataset, width, height in distinct)
    return found, inverse.reshape(-1)
