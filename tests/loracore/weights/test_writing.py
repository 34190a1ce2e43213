"""A file is written tensor by tensor, whole or not at all, and any reader takes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.weights.headers import read_header
from loracore.weights.writing import DTYPES, Piece, write_pieces


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    pieces = [Piece((name,), partial(dict, {name: tensor})) for name, tensor in tensors.items()]
    write_pieces(path, pieces, list(tensors), metadata or {})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_is_read_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "matrix": torch.arange(6).view(2, 3).to(dtype),
        "one": torch.tensor(1).to(dtype),
        "none": torch.zeros(0, 2),
    }
    write(tmp_path / "file.safetensors", tensors)
    found = load_file(tmp_path / "file.safetensors")
    assert {name: one.dtype for name, one in found.items()} == {name: one.dtype for name, one in tensors.items()}
    assert all(torch.equal(found[name].float(), one.float()) for name, one in tensors.items())


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    whole = torch.rand(4, 6)
    write(tmp_path / "file.safetensors", {"turned": whole.t(), "part": whole[1:3, ::2]})
    found = load_file(tmp_path / "file.safetensors")
    assert torch.equal(found["turned"], whole.t())
    assert torch.equal(found["part"], whole[1:3, ::2])


def test_the_header_says_what_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write(path, {"é.weight": torch.rand(2)}, {"modelspec.title": "ein Bild 画像"})
    header = read_header(path)
    assert header.metadata == {"modelspec.title": "ein Bild 画像"}
    assert header.shapes == {"é.weight": (2,)}
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == header.metadata


def test_tensors_stand_where_any_machine_can_map_them(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write(path, {"a": torch.rand(3)})
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0


class Break(BaseException):
    """What Ctrl-C is: no error."""


@pytest.mark.parametrize("trouble", [Break, LoracoreError("no such module")])
def test_nothing_is_left_of_a_file_that_breaks_off(
    tmp_path: Path, trouble: BaseException | type[BaseException]
) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"old": torch.ones(1)}, path)

    def broken() -> Mapping[str, Tensor]:
        raise trouble

    with pytest.raises((Break, LoracoreError)):
        write_pieces(path, [Piece(("a",), lambda: {"a": torch.ones(2)}), Piece(("b",), broken)], ["a", "b"], {})
    assert [one.name for one in tmp_path.iterdir()] == ["file.safetensors"]
    assert list(load_file(path)) == ["old"]


def test_a_full_disk_is_an_error_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(LoracoreError, match="cannot be written"):
        write(tmp_path / "file" / "new.safetensors", {"a": torch.ones(1)})
