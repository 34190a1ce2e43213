from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loracore import Config, DataError, ModelOptions, NetworkOptions
from loracore.training.assembly.network_weights import read_network_weights


def test_network_weights_are_read_without_mapping_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"lora_unet_a.lora_up.weight": torch.ones(2, 1), "lora_unet_a.lora_down.weight": torch.ones(1, 2)}, path)
    monkeypatch.setattr("loracore.training.assembly.network_weights.load_file", None)
    model = ModelOptions(disable_mmap_load_safetensors=True)
    tensors, notes = read_network_weights(Config([model, NetworkOptions(network_weights=str(path))], {}))
    assert tensors is not None
    assert tensors["lora_unet_a.lora_up.weight"].tolist() == [[1], [1]]
    assert not notes


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("mapped", [True, False])
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path: Path, number: float, mapped: bool) -> None:
    path, bad = tmp_path / "a.safetensors", torch.tensor([[1.0, number]])
    tensors = {f"lora_unet_{letter}.diff": bad.clone() for letter in "dcba"}
    save_file({**tensors, "lora_unet_x.diff": torch.ones(2, 1)}, path)
    model = ModelOptions(disable_mmap_load_safetensors=not mapped)
    with pytest.raises(DataError) as caught:
        read_network_weights(Config([model, NetworkOptions(network_weights=str(path))], {}))
    (problem,) = caught.value.problems
    named = ", ".join(f"lora_unet_{letter}.diff" for letter in "abc")
    assert problem.message == f"network_weights: 4 of 5 tensors hold NaN or infinity: {named} and 1 more"
    assert problem.where == str(path)
    assert "earlier save" in problem.fix


def test_parts_that_do_not_train_are_looked_at_too(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"lora_te1_x.alpha": torch.tensor(float("nan")), "lora_unet_x.alpha": torch.tensor(1.0)}, path)
    network = NetworkOptions(network_weights=str(path), network_train_unet_only=True)
    with pytest.raises(DataError, match=r"lora_te1_x\.alpha"):
        read_network_weights(Config([ModelOptions(), network], {}))


def test_a_file_whose_parts_do_not_train_is_no_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"lora_te1_x.diff": torch.ones(2, 2)}, path)
    network = NetworkOptions(network_weights=str(path), network_train_unet_only=True)
    with pytest.raises(DataError, match=r"a\.safetensors: none of its parts train in this run"):
        read_network_weights(Config([ModelOptions(), network], {}))


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("a.pt", b"PK", "this is a pickle"), ("a.safetensors", b"a text, no tensors", "not a .safetensors file")],
)
def test_other_files_are_told_as_what_they_are(
    tmp_path: Path, name: str, content: bytes, said: str, mapped: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    model = ModelOptions(disable_mmap_load_safetensors=not mapped)
    with pytest.raises(DataError, match=said):
        read_network_weights(Config([model, NetworkOptions(network_weights=str(tmp_path / name))], {}))
