from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.data.repeats import balanced_repeats, held_out

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Golden


@pytest.mark.parametrize("number", range(8))
def test_golden_regularisation(golden: Golden, number: int) -> None:
    case = golden["regularisation"]["cases"][number]
    own = np.full(case["reg_images"], case["reg_repeats"])
    found = balanced_repeats(own, case["train_images"] * case["train_repeats"])
    assert [count for count in found.tolist() if count] == case["effective_reg_repeats_in_file_order"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(0, 200))
def test_there_are_as_many_as_asked_for_and_the_surplus_is_less_than_one_picture(own: list[int], target: int) -> None:
    found = balanced_repeats(np.array(own), target)
    assert found.sum() >= target
    assert found.sum() - target < max(own)


def test_without_training_samples_nothing_is_regularised() -> None:
    assert balanced_repeats(np.array([1, 2]), 0).tolist() == [0, 0]


@pytest.mark.parametrize("number", range(12))
def test_golden_validation_splits(golden: Golden, number: int) -> None:
    case = golden["validation_split"]["cases"][number]
    kept, out = held_out(case["n"], case["validation_split"], case["validation_seed"])
    assert [f"p{row:02}" for row in out] == case["validation"]
    assert [f"p{row:02}" for row in kept] == [name for name in case["train"] if name not in case["overlap"]]


@given(st.integers(0, 100), st.floats(0, 1), st.integers(0, 2**32))
def test_every_picture_is_in_one_half(count: int, share: float, seed: int) -> None:
    kept, out = held_out(count, share, seed)
    assert sorted(kept + out) == list(range(count))
