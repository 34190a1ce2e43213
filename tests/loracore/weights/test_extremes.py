from __future__ import annotations

import math

import pytest
import torch

from loracore.weights.extremes import extremes, is_finite

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_least_and_the_largest_number_are_given(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0.5, -3.0], [2.0, 1.0]]).to(dtype)
    assert extremes(tensor) == (-3, 2)
    assert is_finite(tensor)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_found_among_many(dtype: torch.dtype, number: float) -> None:
    tensor = torch.ones(1000, 3).to(dtype)
    tensor[517, 1] = number if dtype != torch.float8_e4m3fn else math.nan  # it has no infinity
    assert not is_finite(tensor)


def test_whole_numbers_and_nothing_are_finite() -> None:
    assert is_finite(torch.tensor([True]))
    assert is_finite(torch.tensor(3))
    assert is_finite(torch.zeros(0, 4))
