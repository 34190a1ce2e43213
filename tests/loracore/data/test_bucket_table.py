from __future__ import annotations

import pytest

from loracore.data.bucket_table import BucketRow, bucket_lines, bucket_table
from loracore.data.buckets import Buckets
from tests.loracore.data.indexes import index_of

SQUARES = Buckets((64, 64), ((64, 64), (128, 64)), 64)


def row(width: int, pictures: int = 3, upscaled: float = 0.0, cropped: float = 0.0) -> BucketRow:
    return BucketRow(0, (width, 64), pictures, pictures * 2, pictures, upscaled, cropped)


def test_every_bucket_with_a_picture_is_a_row_by_data_set_and_size() -> None:
    index = index_of([(1, (64, 64), 1), (0, (128, 64), 1), (0, (64, 64), 1), (0, (65, 64), 1)], SQUARES)
    found = [(one.dataset, one.size, one.pictures) for one in bucket_table(index, [1, 1])]
    assert found == [(0, (64, 64), 2), (0, (128, 64), 1), (1, (64, 64), 1)]


def test_batches_are_those_of_the_data_set_over_all_processes() -> None:
    index = index_of([(0, (64, 64), 9), (1, (64, 64), 9)], SQUARES)
    assert [one.batches for one in bucket_table(index, [4, 2])] == [3, 5]
    assert [one.batches for one in bucket_table(index, [4, 2], processes=2)] == [2, 3]


def test_shares_are_of_pictures_whatever_their_repeats() -> None:
    index = index_of([(0, (32, 32), 1), (0, (64, 64), 99)], SQUARES)
    (found,) = bucket_table(index, [1])
    assert (found.samples, found.upscaled) == (100, 0.5)


def test_a_bucket_that_lost_its_pictures_is_no_row() -> None:
    index = index_of([(0, (64, 64), 1), (0, (128, 64), 1)], SQUARES)
    assert [one.size for one in bucket_table(index.take(index.buckets == 1), [1])] == [(128, 64)]


def test_a_line_tells_all_of_a_bucket() -> None:
    heading, line = bucket_lines([row(64, pictures=3, upscaled=1 / 3, cropped=0.025)], most=5)
    assert line.split() == ["64", "×", "64", "3", "6", "3", "33%", "2.5%"]
    assert len(heading) == len(line)


@pytest.mark.parametrize(("most", "lines"), [(3, 4), (2, 4), (1, 3)])
def test_buckets_beyond_the_most_are_counted_together(most: int, lines: int) -> None:
    found = list(bucket_lines([row(64, 1), row(128, 2), row(192, 4)], most))
    assert len(found) == lines
    rest = {3: False, 2: "and 1 more: 4 pictures in 4 batches", 1: "and 2 more: 6 pictures in 6 batches"}[most]
    assert not rest or found[-1] == rest
