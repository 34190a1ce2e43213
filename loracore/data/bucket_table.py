"""What an index amounts to: pictures, samples and batches by bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from loracore.data.buckets import Size
    from loracore.data.index import Index


@dataclass(frozen=True, slots=True)
class BucketRow:
    """One bucket of one data set."""

    dataset: int
    size: Size  # width, height
    pictures: int
    samples: int  # pictures with their repeats: what an epoch shows
    batches: int  # of an epoch, over all processes
    upscaled: float  # share of the pictures that are enlarged
    cropped: float  # share of all pixels, after resizing, that are cut off


def bucket_table(index: Index, batch_sizes: Sequence[int], processes: int = 1) -> tuple[BucketRow, ...]:
    """Return every bucket that holds a picture, sorted by data set and size."""
    framings, rows = index.framings, index.framing_rows
    grows = np.asarray((framings.resized > framings.originals).any(axis=1))[rows]
    kept = (framings.sizes.prod(axis=1) / np.maximum(framings.resized.prod(axis=1), 1))[rows]
    count = len(index.bucket_list)
    pictures = np.bincount(index.buckets, minlength=count)
    samples = np.bincount(index.buckets, weights=index.repeats, minlength=count).astype(np.int64)
    upscaled = np.bincount(index.buckets, weights=grows, minlength=count)
    cropped = np.bincount(index.buckets, weights=1 - kept, minlength=count)
    return tuple(
        BucketRow(
            dataset,
            size,
            int(pictures[number]),
            int(samples[number]),
            int(-(-samples[number] // (batch_sizes[dataset] * processes))),
            float(upscaled[number] / pictures[number]),
            float(cropped[number] / pictures[number]),
        )
        for number, (dataset, size) in enumerate(index.bucket_list)
        if pictures[number]
    )


def bucket_lines(rows: Sequence[BucketRow], most: int) -> Iterator[str]:
    """Give a table with one line for each bucket, those beyond ``most`` counted together."""
    yield f"{'bucket':^13} {'pictures':>8} {'samples':>8} {'batches':>8} {'upscaled':>9} {'cropped':>8}"
    for row in rows[:most]:
        size = f"{row.size[0]:>5} × {row.size[1]:<5}"
        counts = f"{row.pictures:>8} {row.samples:>8} {row.batches:>8}"
        yield f"{size} {counts} {row.upscaled:>9.0%} {row.cropped:>8.1%}"
    if len(rows) > most:
        rest = rows[most:]
        pictures, batches = sum(row.pictures for row in rest), sum(row.batches for row in rest)
        yield f"and {len(rest)} more: {pictures} pictures in {batches} batches"
