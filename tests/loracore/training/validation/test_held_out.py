from __future__ import annotations

import json
from pathlib import Path

import pytest

from loracore import TrainingOptions
from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import DataOptions, ValidationOptions
from loracore.data.buckets import Buckets
from loracore.data.index import Index
from loracore.training.validation.held_out import fixed_batches, fixed_timesteps, validation_seed
from tests.loracore.data.indexes import index_of


def test_golden_timesteps(data: Path) -> None:
    cases = json.loads((data / "training.json").read_text("utf-8"))["validation_timesteps"]["values"]
    for bounds, wanted in cases.items():
        low, high = map(int, bounds.split(","))
        assert fixed_timesteps(TrainingOptions(min_timestep=low, max_timestep=high)) == wanted


@pytest.fixture
def index() -> Index:
    sizes = [(64, 64), (128, 64), (64, 128)]
    return index_of([(0, sizes[number % 3], 1) for number in range(10)], Buckets((64, 64), tuple(sizes), 64))


def config_of(batch_size: int, most: int | None = None, seed: int | None = None) -> Config:
    dataset = DatasetSpec((64, 64), batch_size, True, 64, 128, 64, False, ())
    tables = [ValidationOptions(max_validation_steps=most), DataOptions(validation_seed=seed)]
    return Config(tables, {}).with_datasets([dataset])


@pytest.mark.parametrize(("size", "processes"), [(1, 1), (4, 1), (2, 2), (3, 4)])
def test_every_picture_is_looked_at_once_with_noise_of_its_own(index: Index, size: int, processes: int) -> None:
    batches = fixed_batches(index, config_of(size), 5, processes)
    rows = [row for batch in batches for row in batch.rows]
    assert sorted(rows) == list(range(10))
    assert [place for batch in batches for place in batch.positions] == rows
    assert all(len(batch.rows) <= size * processes for batch in batches)


def test_batches_are_limited_and_hang_on_the_seed(index: Index) -> None:
    assert [len(fixed_batches(index, config_of(2, most), 5, 1)) for most in (1, 3, 99)] == [1, 3, 6]
    assert fixed_batches(index, config_of(2), 5, 1) == fixed_batches(index, config_of(2), 5, 1)
    assert fixed_batches(index, config_of(2), 5, 1) != fixed_batches(index, config_of(2), 6, 1)


def test_the_runs_seed_serves_where_validation_has_none() -> None:
    assert validation_seed(config_of(1), 7) == 7
    assert validation_seed(config_of(1, seed=0), 7) == 0
