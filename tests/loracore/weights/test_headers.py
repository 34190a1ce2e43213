from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from loracore.errors import DataError
from loracore.weights.headers import read_header


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.safetensors"
    save_file({"a": torch.zeros(2, 3), "b.c": torch.ones(())}, path, {"note": "hello"})
    return path


def test_header_tells_names_shapes_and_metadata(file: Path) -> None:
    header = read_header(file)
    assert header.shapes == {"a": (2, 3), "b.c": ()}
    assert header.metadata == {"note": "hello"}


def test_missing_file_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.safetensors.*cannot be read"):
        read_header(tmp_path / "absent.safetensors")


def test_cut_off_tensors_are_told_with_what_is_missing(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut off: 1 byte of"):
        read_header(file)


@pytest.mark.parametrize(("count", "said"), [(2000, "2.0 KiB"), (3 << 20, "3.0 MiB")])
def test_what_is_missing_has_a_unit_that_suits_it(tmp_path: Path, count: int, said: str) -> None:
    path = tmp_path / "some.safetensors"
    save_file({"a": torch.zeros(count, dtype=torch.uint8)}, path)
    path.write_bytes(path.read_bytes()[:-count])
    with pytest.raises(DataError, match=f"cut off: {said} of"):
        read_header(path)


def test_a_shape_that_needs_other_bytes_is_damage(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"shape":[2,3]', b'"shape":[3,3]'))
    with pytest.raises(DataError, match=r"'a' has 24 bytes, which are not those of its shape \[3, 3\]: .* damaged"):
        read_header(file)


@given(st.integers(min_value=0, max_value=100))
def test_file_cut_anywhere_is_told(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    whole = save({"a": torch.zeros(2, 3)})
    path = tmp_path_factory.mktemp("cut") / "cut.safetensors"
    path.write_bytes(whole[: min(kept, len(whole) - 1)])
    with pytest.raises(DataError):
        read_header(path)


@pytest.mark.parametrize(
    "table", [[1, 2], {"a": 3}, {"a": {"shape": [1]}}, {"a": {"shape": "x", "data_offsets": [0, 1]}}]
)
def test_header_of_another_form_is_told(tmp_path: Path, table: object) -> None:
    text = json.dumps(table).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(DataError, match=r"not a \.safetensors file"):
        read_header(path)
