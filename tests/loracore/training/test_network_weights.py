from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loracore import Config, ModelOptions, NetworkOptions
from loracore.training.network_weights import read_network_weights


def test_network_weights_are_read_without_mapping_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"lora_unet_a.lora_up.weight": torch.ones(2, 1)}, path)
    monkeypatch.setattr("loracore.training.network_weights.load_file", None)
    model = ModelOptions(disable_mmap_load_safetensors=True)
    tensors, notes = read_network_weights(Config([model, NetworkOptions(network_weights=str(path))], {}))
    assert tensors is not None
    assert tensors["lora_unet_a.lora_up.weight"].tolist() == [[1], [1]]
    assert not notes
