from __future__ import annotations

import pytest
import torch
from torch import Tensor

from loracore.memory.quantised.rows import read_rows, store_fp8, store_int8


@pytest.fixture
def weight() -> Tensor:
    """Rows of very different sizes, one of zeros among them."""
    numbers = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    return numbers * torch.tensor([[1.0], [1e-4], [300.0], [0.0], [1e4]])


def peaks(weight: Tensor) -> Tensor:
    return weight.abs().amax(dim=1, keepdim=True)


def test_whole_numbers_are_half_a_step_off_at_most(weight: Tensor) -> None:
    stored = store_int8(weight)
    assert stored[0].dtype == torch.int8
    errors = (read_rows(stored, weight.shape, torch.float32) - weight).abs()
    assert (errors <= peaks(weight) / 127 / 2 * 1.0001).all()  # roundings of float32


def test_float8_is_a_sixteenth_off_at_most(weight: Tensor) -> None:
    stored = store_fp8(weight)
    assert stored[0].dtype == torch.float8_e4m3fn
    errors = (read_rows(stored, weight.shape, torch.float32) - weight).abs()
    least = peaks(weight) / 448 * 2**-10  # half of the least number that is no zero
    assert (errors <= torch.maximum(weight.abs() / 16, least) * 1.0001).all()


@pytest.mark.parametrize("store", [store_fp8, store_int8])
def test_the_largest_number_of_each_row_stays(store: type, weight: Tensor) -> None:
    read = read_rows(store(weight), weight.shape, torch.float32)
    assert torch.allclose(peaks(read), peaks(weight), rtol=1e-6)
    assert (read[3] == 0).all()


@pytest.mark.parametrize("store", [store_fp8, store_int8])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_read_in_16_bits_it_is_rounded_once(store: type, dtype: torch.dtype, weight: Tensor) -> None:
    stored = store(weight)
    before = [tensor.clone() for tensor in stored]
    assert torch.equal(read_rows(stored, weight.shape, dtype), read_rows(stored, weight.shape, torch.float32).to(dtype))
    assert all(map(torch.equal, map(Tensor.float, stored), map(Tensor.float, before)))
