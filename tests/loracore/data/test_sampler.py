from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.config.dataset_spec import DatasetSpec
from loracore.data.buckets import make_buckets
from loracore.data.picture import Index, Picture
from loracore.data.sampler import MicroBatch, batches_per_epoch, epoch_batches, share
from loracore.data.summary import bucket_table
from loracore.types import Framing

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Golden

PROCESSES = st.integers(1, 5)
BATCH_SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
#: (data set, width, repeats) of each picture
PICTURES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([64, 128]), st.integers(1, 4)), min_size=1, max_size=20
)


def index_of(pictures: list[tuple[int, int, int]]) -> Index:
    made = [
        Picture(Path(f"{row}.png"), "", "", Framing((9, 9), (9, 9), (0, 0), (width, 64)), repeats, dataset, 0, None)
        for row, (dataset, width, repeats) in enumerate(pictures)
    ]
    return Index(tuple(made), ())


def framed(dataset: DatasetSpec, sizes: list[tuple[int, int]], repeats: int) -> Index:
    framings = [make_buckets(dataset).framing((width, height)) for width, height in sizes]
    made = [Picture(Path("a.png"), "", "", framing, repeats, 0, 0, None) for framing in framings if framing]
    return Index(tuple(made), ())


@given(PICTURES, BATCH_SIZES, PROCESSES)
def test_every_picture_is_seen_as_often_as_it_repeats(
    pictures: list[tuple[int, int, int]], batch_sizes: tuple[int, int], processes: int
) -> None:
    index = index_of(pictures)
    batches = epoch_batches(index, batch_sizes, seed=7, epoch=3, processes=processes)
    parts = [share(batch, process, processes) for batch in batches for process in range(processes)]
    seen = Counter(row for part in parts for row in part.rows)
    assert seen == {row: repeats for row, (_, _, repeats) in enumerate(pictures)}
    positions = [position for part in parts for position in part.positions]
    assert positions == list(range(len(positions)))


@given(PICTURES, BATCH_SIZES, PROCESSES)
def test_batches_never_mix_sizes_or_data_sets(
    pictures: list[tuple[int, int, int]], batch_sizes: tuple[int, int], processes: int
) -> None:
    for batch in epoch_batches(index_of(pictures), batch_sizes, seed=7, epoch=0, processes=processes):
        kinds = {pictures[row][:2] for row in batch.rows}
        assert len(kinds) == 1
        longest = batch_sizes[kinds.pop()[0]]
        assert all(len(share(batch, process, processes).rows) <= longest for process in range(processes))


@given(PICTURES, BATCH_SIZES, PROCESSES, st.integers(0, 9))
def test_the_number_of_batches_is_known_beforehand(
    pictures: list[tuple[int, int, int]], batch_sizes: tuple[int, int], processes: int, epoch: int
) -> None:
    index = index_of(pictures)
    found = epoch_batches(index, batch_sizes, 1, epoch, processes)
    assert len(found) == batches_per_epoch(index, batch_sizes, processes)


@given(PICTURES)
def test_one_process_with_batch_four_sees_what_two_with_batch_two_see(pictures: list[tuple[int, int, int]]) -> None:
    index = index_of(pictures)
    assert epoch_batches(index, (4, 4), 1, 2) == epoch_batches(index, (2, 2), 1, 2, processes=2)


def test_the_order_follows_seed_and_epoch() -> None:
    index = index_of([(0, 64, 1)] * 50)
    orders = [epoch_batches(index, (1,), seed, epoch) for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


def test_a_share_may_be_empty() -> None:
    parts = [share(MicroBatch((8, 9), (0, 1)), process, 3).rows for process in range(3)]
    assert parts == [(), (8,), (9,)]


@pytest.mark.parametrize("number", range(8))
def test_golden_batches_per_epoch(golden: Golden, dataset: Dataset, number: int) -> None:
    case = golden["batches"]["cases"][number]
    spec = dataset(resolution=(1024, 1024), enable_bucket=True, max_bucket_reso=2048)
    index = framed(spec, case["image_sizes"], case["num_repeats"])
    assert batches_per_epoch(index, [case["batch_size"]]) == case["batches_per_epoch"]
    counts = [{"bucket": list(row.size), "count": row.samples} for row in bucket_table(index)]
    assert counts == case["bucket_counts"]
