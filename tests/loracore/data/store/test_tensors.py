from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from loracore.data.store.entries import ITEM_BYTES
from loracore.data.store.store import Store
from loracore.data.store.tensors import _DTYPES, stacked, to_arrays, to_tensors

if TYPE_CHECKING:
    from tests.loracore.data.store.conftest import Key

_BYTES = torch.arange(48, dtype=torch.uint8)


@pytest.mark.parametrize("name", sorted(_DTYPES))
def test_every_dtype_comes_back_bit_for_bit(name: str, tmp_path: Path, key: Key) -> None:
    raw = _BYTES % 2 if name == "BOOL" else _BYTES
    tensor = raw.view(_DTYPES[name]).view(2, 3, -1)
    with Store(tmp_path) as store:
        store.append(key(1), to_arrays({"a": tensor}))
        store.flush()
        (found,) = to_tensors(store.read(0)).values()
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))


def test_every_dtype_of_the_store_has_one_of_torch() -> None:
    assert {name: dtype.itemsize for name, dtype in _DTYPES.items()} == dict(ITEM_BYTES)


@pytest.mark.parametrize("tensor", [torch.tensor(3.5), torch.empty(0, 4), torch.arange(6.0).view(2, 3).T])
def test_shapes_of_all_kinds_come_back(tensor: torch.Tensor) -> None:
    (found,) = to_tensors(to_arrays({"a": tensor})).values()
    assert found.shape == tensor.shape
    assert torch.equal(found, tensor)


def test_what_comes_back_may_be_written_to(tmp_path: Path, key: Key) -> None:
    with Store(tmp_path) as store:
        store.append(key(1), to_arrays({"a": torch.zeros(4)}))
        store.flush()
        to_tensors(store.read(0))["a"].add_(1)
        assert to_tensors(store.read(0))["a"].tolist() == [0, 0, 0, 0]


def test_a_tensor_that_is_trained_is_stored_without_its_history() -> None:
    (found,) = to_tensors(to_arrays({"a": torch.ones(2, requires_grad=True)})).values()
    assert (found.tolist(), found.requires_grad) == ([1, 1], False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_stacked_entries_equal_stacked_tensors(dtype: torch.dtype) -> None:
    several = [torch.arange(6).view(2, 3).to(dtype) + number for number in range(3)]
    assert torch.equal(stacked([to_arrays({"x": one})["x"] for one in several]), torch.stack(several))


def test_shorter_entries_are_filled_up_with_zeros() -> None:
    long, short = torch.ones(3, 2), torch.full((1, 2), 2.0)
    found = stacked([to_arrays({"x": one})["x"] for one in (long, short)])
    assert found.tolist() == [[[1, 1]] * 3, [[2, 2], [0, 0], [0, 0]]]


@pytest.mark.parametrize("other", [torch.ones(3, 5), torch.ones(3, 2, 1), torch.ones(3, 2, dtype=torch.float16)])
def test_entries_of_other_widths_or_dtypes_are_not_stacked(other: torch.Tensor) -> None:
    several = [to_arrays({"x": one})["x"] for one in (torch.ones(3, 2), torch.ones(1, 2), other)]
    with pytest.raises(ValueError, match=r"F32 \(3, 2\) and F(32|16) \(3, "):
        stacked(several)
