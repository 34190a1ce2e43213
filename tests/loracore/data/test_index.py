from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loracore.data.index import Index, joined_indexes
from loracore.data.reading import Reading
from loracore.data.scanning import scan

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Paint, Subset


@pytest.fixture
def halves(paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path) -> tuple[Index, Index]:
    """Return what is trained on of two data sets, and what is held out, in different buckets."""
    for number in range(6):
        paint(f"a/{number}.png", (64, 64 + 64 * (number % 3)))
        paint(f"b/{number}.png", (128, 64))
    values = {"enable_bucket": True, "min_bucket_reso": 64, "max_bucket_reso": 256, "validation_split": 0.5}
    found = scan([dataset(subset(tmp_path / name), **values) for name in "ab"], Reading())
    return found.training, found.validation


def rows(index: Index) -> list[tuple[Path, object, object, int]]:
    every = range(len(index))
    return [
        (index.path(row), index.framing(row), index.bucket_list[index.buckets[row]], int(index.repeats[row]))
        for row in every
    ]


def test_joined_indexes_have_the_rows_of_both(halves: tuple[Index, Index]) -> None:
    first, second = halves
    joined = joined_indexes(first, second)
    assert rows(joined) == rows(first) + rows(second)
    assert len(joined.bucket_list) == len(set(joined.bucket_list))
    assert joined.bucket_list == tuple(sorted(joined.bucket_list))
    assert joined.picture(len(first)).caption == second.picture(0).caption
