from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore import DataError
from loracore.weights.headers import read_header
from loracore.weights.plain_reading import DTYPES, read_plainly

CPU = torch.device("cpu")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a tensor of every dtype that safetensors writes, an empty one, and one without dimensions."""
    tensors = {f"kind.{name}": of_bytes(dtype) for name, dtype in DTYPES.items()}
    tensors |= {"empty": torch.zeros(0, 3, dtype=torch.bfloat16), "scalar": torch.tensor(7, dtype=torch.int64)}
    save_file(tensors, tmp_path / "all.safetensors")
    return tmp_path / "all.safetensors"


def of_bytes(dtype: torch.dtype) -> Tensor:
    """Return a (2, 3) tensor of bytes that differ."""
    size = dtype.itemsize
    raw = torch.arange(6 * size, dtype=torch.uint8)
    return (raw.view(dtype) if dtype != torch.bool else raw % 2 == 1).reshape(2, 3)


def same_bytes(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and raw(one) == raw(other)


def raw(tensor: Tensor) -> bytes:
    return bytes(tensor.reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""


def test_every_kind_of_tensor_is_what_the_mapped_reader_gives(path: Path) -> None:
    mapped, header = load_file(path), read_header(path)
    found = dict(read_plainly(header, header.shapes, CPU))
    assert found.keys() == mapped.keys()
    assert all(same_bytes(found[name], mapped[name]) for name in mapped)


def test_only_what_is_asked_for_is_read_in_that_order(path: Path) -> None:
    assert [name for name, _ in read_plainly(read_header(path), ["scalar", "empty"], CPU)] == ["scalar", "empty"]


def test_tensors_may_be_written_to(path: Path) -> None:
    (_, found), *_ = read_plainly(read_header(path), ["kind.F32"], CPU)
    found.fill_(3)
    assert (dict(read_plainly(read_header(path), ["kind.F32"], CPU))["kind.F32"] != 3).all()


def test_nothing_is_mapped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(safetensors, "safe_open")
    assert len(list(read_plainly(read_header(path), ["kind.F32", "kind.BF16"], CPU))) == 2


def test_unknown_kinds_of_numbers_are_named(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"F8_E8M0"', b'"F6_E2M3"'))
    with pytest.raises(DataError, match=r"'kind\.F8_E8M0' holds .* F6_E2M3"):
        list(read_plainly(read_header(path), ["kind.F8_E8M0"], CPU))


def test_a_file_that_shrinks_while_it_is_read_is_an_error(path: Path) -> None:
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="shorter than it was"):
        list(read_plainly(header, header.shapes, CPU))


def test_bytes_that_do_not_fit_the_shape_are_damage(path: Path) -> None:
    header = replace(read_header(path), shapes={"scalar": (2,)})
    with pytest.raises(DataError, match="'scalar' has 8 bytes, which are not those of its shape"):
        list(read_plainly(header, ["scalar"], CPU))
