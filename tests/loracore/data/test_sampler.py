from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.data.bucket_table import bucket_table
from loracore.data.buckets import Buckets, make_buckets
from loracore.data.index import Index
from loracore.data.sampler import MicroBatch, batches_per_epoch, epoch_order, share
from tests.loracore.data.indexes import index_of

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Golden

PROCESSES = st.integers(1, 5)
BATCH_SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
#: (data set, width, repeats) of each picture
PICTURES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([64, 128]), st.integers(1, 4)), min_size=1, max_size=20
)


def made(pictures: list[tuple[int, int, int]]) -> Index:
    buckets = Buckets((128, 64), ((64, 64), (128, 64)), 64)
    return index_of([(dataset, (width, 64), repeats) for dataset, width, repeats in pictures], buckets)


@given(PICTURES, BATCH_SIZES, PROCESSES)
def test_every_picture_is_seen_as_often_as_it_repeats(
    pictures: list[tuple[int, int, int]], batch_sizes: tuple[int, int], processes: int
) -> None:
    order = epoch_order(made(pictures), batch_sizes, seed=7, epoch=3, processes=processes)
    parts = [share(batch, process, processes) for batch in order for process in range(processes)]
    seen = Counter((row, turn) for part in parts for row, turn in zip(part.rows, part.turns, strict=True))
    expected = {(row, turn) for row, (_, _, repeats) in enumerate(pictures) for turn in range(repeats)}
    assert seen == dict.fromkeys(expected, 1)
    positions = [position for part in parts for position in part.positions]
    assert positions == list(range(len(positions)))


@given(PICTURES, BATCH_SIZES, PROCESSES)
def test_batches_never_mix_sizes_or_data_sets(
    pictures: list[tuple[int, int, int]], batch_sizes: tuple[int, int], processes: int
) -> None:
    for batch in epoch_order(made(pictures), batch_sizes, seed=7, epoch=0, processes=processes):
        kinds = {pictures[row][:2] for row in batch.rows}
        assert len(kinds) == 1
        longest = batch_sizes[kinds.pop()[0]]
        assert all(len(share(batch, process, processes).rows) <= longest for process in range(processes))


@given(PICTURES, BATCH_SIZES, PROCESSES, st.integers(0, 9))
def test_the_number_of_batches_is_known_beforehand(
    pictures: list[tuple[int, int, int]], batch_sizes: tuple[int, int], processes: int, epoch: int
) -> None:
    index = made(pictures)
    assert len(epoch_order(index, batch_sizes, 1, epoch, processes)) == batches_per_epoch(index, batch_sizes, processes)


@given(PICTURES)
def test_one_process_with_batch_four_sees_what_two_with_batch_two_see(pictures: list[tuple[int, int, int]]) -> None:
    index = made(pictures)
    assert list(epoch_order(index, (4, 4), 1, 2)) == list(epoch_order(index, (2, 2), 1, 2, processes=2))


def test_any_batch_is_found_without_those_before_it() -> None:
    order = epoch_order(made([(0, 64, 3)] * 20), (4,), 1, 5)
    assert [order[number] for number in (14, 0, 7)] == [list(order)[number] for number in (14, 0, 7)]
    with pytest.raises(IndexError, match="the epoch has 15 batches"):
        order[15]


def test_the_order_follows_seed_and_epoch() -> None:
    index = made([(0, 64, 1)] * 50)
    orders = [list(epoch_order(index, (1,), seed, epoch)) for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


def test_the_order_is_the_same_on_every_machine() -> None:
    # Written down once: a change would make resumed runs go on with other pictures.
    order = epoch_order(made([(0, 64, 1)] * 6), (2,), 1, 0)
    assert [batch.rows for batch in order] == [(5, 4), (2, 0), (1, 3)]


def test_places_are_spread_evenly() -> None:
    index = made([(0, 64, 1)] * 10)
    firsts = Counter(epoch_order(index, (1,), 3, epoch)[0].rows[0] for epoch in range(500))
    assert set(firsts) == set(range(10))
    assert max(firsts.values()) < 85  # of 500, 50 expected each: more than 5 standard deviations


def test_a_share_may_be_empty() -> None:
    parts = [share(MicroBatch((8, 9), (0, 1), (0, 0)), process, 3).rows for process in range(3)]
    assert parts == [(), (8,), (9,)]


@pytest.mark.parametrize("number", range(8))
def test_golden_batches_per_epoch(golden: Golden, dataset: Dataset, number: int) -> None:
    case = golden["batches"]["cases"][number]
    buckets = make_buckets(dataset(resolution=(1024, 1024), enable_bucket=True, max_bucket_reso=2048))
    index = index_of([(0, tuple(size), case["num_repeats"]) for size in case["image_sizes"]], buckets)
    assert batches_per_epoch(index, [case["batch_size"]]) == case["batches_per_epoch"]
    table = bucket_table(index, [case["batch_size"]])
    assert [{"bucket": list(row.size), "count": row.samples} for row in table] == case["bucket_counts"]
    assert sum(row.batches for row in table) == case["batches_per_epoch"]


@pytest.mark.parametrize("number", range(8))
def test_golden_batches_of_regularised_sets(golden: Golden, number: int) -> None:
    case = golden["regularisation"]["cases"][number]
    repeats = [case["train_repeats"]] * case["train_images"] + case["effective_reg_repeats_in_file_order"]
    index = made([(0, 64, count) for count in repeats])
    assert batches_per_epoch(index, [case["batch_size"]]) == case["batches_per_epoch"]


def test_the_bucket_table_tells_what_is_enlarged_and_cut() -> None:
    index = index_of([(0, (32, 32), 1), (0, (64, 64), 2), (0, (64, 96), 1)], Buckets((64, 64), ((64, 64),), 64))
    (row,) = bucket_table(index, [2])
    assert (row.pictures, row.samples, row.batches) == (3, 4, 2)
    assert (row.upscaled, row.cropped) == pytest.approx((1 / 3, (0 + 0 + 1 / 3) / 3))


def test_an_empty_index_has_no_batches() -> None:
    index = made([(0, 64, 1)]).take(np.empty(0, dtype=np.int64))
    assert len(epoch_order(index, [1], 0, 0)) == batches_per_epoch(index, [1]) == 0


def test_turns_are_whole_numbers_from_which_randomness_is_drawn() -> None:
    batches = list(epoch_order(made([(0, 64, 3), (0, 64, 1)]), [4], seed=1, epoch=0))
    assert sorted(turn for batch in batches for turn in batch.turns) == [0, 0, 1, 2]
    assert {type(turn) for batch in batches for turn in batch.turns} == {int}
