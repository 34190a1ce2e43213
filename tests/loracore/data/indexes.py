"""Indexes without pictures, for what reads their columns alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loracore.data.buckets import Buckets
from loracore.data.index import Index, bucket_numbers


def index_of(pictures: Sequence[tuple[int, tuple[int, int], int]], buckets: Buckets) -> Index:
    """Return an index of pictures given as (data set, size, repeats)."""
    framings = buckets.framings(np.array([size for _, size, _ in pictures], dtype=np.int64).reshape(-1, 2))
    datasets = np.array([dataset for dataset, _, _ in pictures], dtype=np.int64)
    bucket_list, numbers = bucket_numbers(datasets, framings.sizes)
    rows = np.arange(len(pictures))
    return Index(
        sources=(),
        framings=framings,
        bucket_list=bucket_list,
        source_rows=np.zeros(len(pictures), dtype=np.uint16),
        table_rows=rows.astype(np.uint32),
        framing_rows=rows.astype(np.uint32),
        buckets=numbers.astype(np.uint16),
        repeats=np.array([repeats for _, _, repeats in pictures], dtype=np.uint32),
    )
