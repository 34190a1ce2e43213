from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from loracore import LoracoreError
from loracore.training.results import checkpoints
from loracore.training.results.checkpoints import save_dtype, write_network


def test_a_written_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_network(path, {"x": torch.arange(3.0)}, {"ss_a": "b"})
    assert torch.equal(load_file(path)["x"], torch.arange(3.0))


def test_tensors_that_are_not_finite_never_replace_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"good")
    with pytest.raises(LoracoreError, match="not finite"):
        write_network(path, {"x": torch.tensor(float("nan"))}, {})
    assert path.read_bytes() == b"good"


def test_precision_names_are_the_fields() -> None:
    assert [save_dtype(name) for name in (None, "float", "fp16", "bf16")] == [
        torch.float32,
        torch.float32,
        torch.float16,
        torch.bfloat16,
    ]
    assert save_dtype(None, torch.bfloat16) == torch.bfloat16


def test_the_bytes_are_those_of_safetensors(tmp_path: Path) -> None:
    tensors = {"b.ü": torch.arange(6.0).view(2, 3).bfloat16(), "a": torch.tensor(2.0).bfloat16()}
    path, said = tmp_path / "a.safetensors", {"ss_a": 'line\n"ü"'}
    write_network(path, tensors, said)
    with safe_open(path, "pt") as file:
        hashes = {name: value for name, value in file.metadata().items() if name.startswith("sshs_")}
    library, ours = save(tensors, {**said, **hashes}), path.read_bytes()
    assert len(ours) == len(library)  # the library writes metadata in any order
    assert ours[-14:] == library[-14:]


@pytest.mark.parametrize("kind", ["ckpt", "pt"])
def test_pickles_are_plain_dicts_without_metadata(tmp_path: Path, kind: Literal["ckpt", "pt"]) -> None:
    path = tmp_path / f"a.{kind}"
    write_network(path, {"x": torch.arange(3.0)}, {"ss_a": "b"}, kind)
    found = torch.load(path, weights_only=True)
    assert list(found) == ["x"]
    assert torch.equal(found["x"], torch.arange(3.0))


@pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
def test_a_file_that_cannot_be_read_back_replaces_nothing(
    tmp_path: Path, kind: Literal["safetensors", "ckpt"], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"good")

    def cut(file: BinaryIO, *_: object) -> None:
        file.write(b"\x10" + bytes(7) + b"half")  # says that it holds more than it does

    monkeypatch.setattr(checkpoints, "_write_safetensors", cut)
    monkeypatch.setattr(torch, "save", lambda _, file: cut(file))
    with pytest.raises(LoracoreError, match="cannot be read"):
        write_network(path, {"x": torch.arange(3.0)}, {}, kind)
    assert path.read_bytes() == b"good"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(os.name == "nt", reason="no limits of files there")
@pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
def test_a_disk_that_takes_no_more_is_an_error_of_the_users(
    tmp_path: Path, kind: Literal["safetensors", "ckpt"]
) -> None:
    import resource  # Windows has none

    before = resource.getrlimit(resource.RLIMIT_FSIZE)  # what is above it is refused, as by a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(LoracoreError, match="cannot be written"):
            write_network(tmp_path / f"a.{kind}", {"x": torch.zeros(10_000)}, {}, kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
