from __future__ import annotations

import json
import pickle
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loracore.diffusion.files.folders import LocalFolder
from loracore.diffusion.files.weights import find_weights, open_weights
from loracore.errors import DataError

CPU = torch.device("cpu")


def test_only_named_tensors_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.zeros(3)}, tmp_path / "x.safetensors")
    weights = open_weights(tmp_path / "x.safetensors", allow_pickle=False)
    assert weights.shapes == {"a": (2,), "b": (3,)}
    assert [(name, tensor.tolist()) for name, tensor in weights.read(["a"], CPU)] == [("a", [1.0, 1.0])]


@pytest.mark.parametrize("state", [{"a": torch.ones(2)}, {"state_dict": {"a": torch.ones(2)}, "epoch": 1}])
def test_pickled_tensors_stand_at_the_top_or_under_state_dict(tmp_path: Path, state: dict[str, object]) -> None:
    torch.save(state, tmp_path / "x.pt")
    weights = open_weights(tmp_path / "x.pt", allow_pickle=True)
    assert weights.shapes == {"a": (2,)}
    assert dict(weights.read(["a"], CPU))["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"hello, this is no pickle", b"\x80\x04}."])
def test_damaged_pickle_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pt.*(damaged|no tensors)"):
        open_weights(tmp_path / "x.pt", allow_pickle=True)


def test_code_in_a_pickle_is_named_and_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Namespace()}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"asks for argparse\.Namespace, and code in a pickle is never run"):
        open_weights(tmp_path / "x.pt", allow_pickle=True)


@pytest.mark.filterwarnings("error")
def test_newer_pickle_is_told_once_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with pytest.raises(DataError):
        open_weights(tmp_path / "x.pt", allow_pickle=True)


@pytest.mark.parametrize("name", ["X.CKPT", "x.Pt", "X.BIN"])
def test_endings_in_capitals_are_pickles_too(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / name)
    with pytest.raises(DataError, match="allow_pickle"):
        open_weights(tmp_path / name, allow_pickle=False)
    assert open_weights(tmp_path / name, allow_pickle=True).shapes == {"a": (2,)}


@pytest.mark.parametrize("device", [torch.device("cpu", 0), torch.device("cpu")])
def test_first_processor_is_a_device_too(tmp_path: Path, device: torch.device) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "X.SAFETENSORS")
    weights = open_weights(tmp_path / "X.SAFETENSORS", allow_pickle=False)
    assert dict(weights.read(["a"], device))["a"].tolist() == [1.0, 1.0]


def test_pickle_without_tensors_is_told(tmp_path: Path) -> None:
    torch.save({"epoch": 1}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="no tensors"):
        open_weights(tmp_path / "x.pt", allow_pickle=True)


def test_index_that_names_a_missing_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    save_file({"a": torch.ones(2)}, tmp_path / "unet" / "one.safetensors")
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps(index), encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"missing: two\.safetensors"):
        find_weights(LocalFolder(tmp_path), "unet", half_first=False, allow_pickle=False)


def test_folder_without_weights_has_none(tmp_path: Path) -> None:
    assert find_weights(LocalFolder(tmp_path), "unet", half_first=True, allow_pickle=True) is None


@pytest.mark.parametrize("file", ["x.safetensors", "x.pt"])
def test_without_mapping_values_are_the_same_and_no_file_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    stored = {"a": torch.randn(3, 2).bfloat16(), "b": torch.ones(2).to(torch.float8_e4m3fn), "c": torch.zeros(0)}
    save_file(stored, tmp_path / "x.safetensors")
    torch.save(stored, tmp_path / "x.pt")
    mapped = dict(open_weights(tmp_path / file, allow_pickle=True).read(list(stored), CPU))
    monkeypatch.setattr("loracore.diffusion.files.weights.safe_open", None)
    monkeypatch.setattr(torch.UntypedStorage, "from_file", None)
    found = dict(open_weights(tmp_path / file, allow_pickle=True, mapped=False).read(list(stored), CPU))
    assert [(name, one.dtype, one.tolist()) for name, one in found.items()] == [
        (name, one.dtype, one.tolist()) for name, one in mapped.items()
    ]


def test_every_shard_is_read_without_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loracore.diffusion.files.weights.safe_open", None)
    (tmp_path / "unet").mkdir()
    for name in ("a", "b"):
        save_file({name: torch.ones(2)}, tmp_path / "unet" / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in ("a", "b")}}
    (tmp_path / "unet" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    found = find_weights(LocalFolder(tmp_path), "unet", half_first=False, allow_pickle=False, mapped=False)
    assert found is not None
    assert {name: one.tolist() for name, one in found.read(["a", "b"], CPU)} == {"a": [1, 1], "b": [1, 1]}
