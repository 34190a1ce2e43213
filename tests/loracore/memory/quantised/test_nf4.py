from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from loracore.memory.quantised.nf4 import read_nf4, store_nf4

#: The 16 numbers of the paper's appendix E.
TABLE = torch.tensor(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
        *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
        *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)


def matrix(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 0.05


def by_the_paper(weight: Tensor) -> Tensor:
    """Return blocks of 64 rounded to the nearest of the table's numbers, with scales that nobody rounds."""
    blocks = weight.reshape(-1, 64)
    scales = blocks.abs().amax(dim=1, keepdim=True)
    nearest = ((blocks / scales)[..., None] - TABLE).abs().argmin(dim=-1)
    return (TABLE[nearest] * scales).reshape(weight.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_is_the_papers_but_for_8_bit_scales(dtype: torch.dtype) -> None:
    weight = matrix(96, 128).to(dtype)
    read = read_nf4(store_nf4(weight), weight.shape, torch.float32)
    expected = by_the_paper(weight.float())
    assert (read - expected).norm() / expected.norm() < 0.01  # 8 bits for a scale
    assert (read - weight.float()).norm() / weight.float().norm() < 0.11


def test_a_number_takes_little_more_than_4_bits() -> None:
    stored = store_nf4(matrix(1024, 1024))
    assert sum(tensor.nbytes for tensor in stored) * 8 / 1024**2 == pytest.approx(4.14, abs=0.01)


@pytest.mark.parametrize("shape", [(3, 5), (7, 9), (5, 64), (1, 1), (6, 50)])
def test_no_shape_is_too_odd(shape: tuple[int, int]) -> None:
    weight = matrix(*shape)
    read = read_nf4(store_nf4(weight), weight.shape, torch.float32)
    assert read.shape == weight.shape
    assert (read - weight).abs().max() < 0.2 * weight.abs().max()


def test_zeros_stay_zeros() -> None:
    weight = torch.zeros(4, 64)
    assert torch.equal(read_nf4(store_nf4(weight), weight.shape, torch.float32), weight)


def test_sizes_are_known_without_numbers() -> None:
    found, expected = store_nf4(torch.empty(48, 50, device="meta")), store_nf4(matrix(48, 50))
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in expected]


def test_sizes_that_were_asked_for_first_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = pytest.importorskip("bitsandbytes.functional")
    monkeypatch.setattr(kernels, "name2qmap", {})  # as in a new process: it fills this at its first call
    assert all(one.is_meta for one in store_nf4(torch.empty(8, 64, device="meta")))
    weight = matrix(8, 64)
    assert (read_nf4(store_nf4(weight), weight.shape, torch.float32) - weight).norm() / weight.norm() < 0.11


def test_its_kernels_are_imported_quietly(caplog: pytest.LogCaptureFixture) -> None:
    store_nf4(matrix(2, 64))
    assert caplog.text == ""
    assert logging.getLogger("bitsandbytes").level == logging.NOTSET
