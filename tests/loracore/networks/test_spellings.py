"""Files that no network here reads are told by their names."""

from __future__ import annotations

import pytest
import torch

from loracore import DataError
from loracore.networks.network import Network, build_network
from loracore.networks.spellings import base_model, misnamed


@pytest.mark.parametrize("from_file", [False, True], ids=["network_weights", "dim_from_weights"])
def test_a_lora_with_names_of_diffusers_must_be_converted_first(from_file: bool) -> None:  # pytest gives it by name
    tensors = {f"transformer.blocks.0.to_q.lora_{factor}.weight": torch.zeros(2, 2) for factor in "AB"}
    network = build_network([], lambda _target, _weights: None, tensors) if from_file else Network([])
    with pytest.raises(DataError, match="loracore convert --arch NAME --network_weights FILE") as caught:
        network.load(tensors, "lora.safetensors")
    assert "the names of diffusers and PEFT" in str(caught.value)


def test_a_base_model_is_told_by_names_of_its_own() -> None:
    found = misnamed(["model.diffusion_model.enter.weight", "model_ema.decay"], "model.safetensors")
    assert found is not None
    assert "a base model's checkpoint, not a LoRA" in found.message


@pytest.mark.parametrize(
    "name",
    ["lora_unet_a.lora_down.weight", "lora_unet_a.diff", "lycoris_a.a1.weight", "t.a.lora_A.weight", "emb_params"],
)
def test_networks_are_no_base_models(name: str) -> None:
    assert base_model([name], "file") is None
