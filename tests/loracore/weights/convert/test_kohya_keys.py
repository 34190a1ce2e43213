"""Other spellings of kohya's names are told by the targets alone."""

from __future__ import annotations

import pytest
from torch import nn

from loracore.types import LoraTarget
from loracore.weights.convert.kohya_keys import known_keys
from loracore.weights.network_file import by_key


def linear() -> nn.Linear:
    return nn.Linear(4, 4, device="meta")


TARGETS = (
    LoraTarget("lora_unet_in_1_0_proj", (linear(),), ("down.0.proj",), "unet"),
    LoraTarget("lora_unet_in_1_qkv", (linear(), linear()), ("down.0.to_q", "down.0.to_k"), "unet"),
    LoraTarget("lora_unet_last_mod", (linear(),), ("norm_out",), "unet", swapped_halves=True),
    LoraTarget("lora_te1_layers_0_fc1", (linear(),), ("layers.0.fc1",), "te1"),
)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("oft_unet_in_1_0_proj.oft_blocks", "lora_unet_in_1_0_proj.oft_blocks"),
        ("lora_unet_down_0_proj.alpha", "lora_unet_in_1_0_proj.alpha"),
        ("lycoris_down_0_proj.lokr_w1", "lora_unet_in_1_0_proj.lokr_w1"),
        ("lora_transformer_down_0_proj.alpha", "lora_unet_in_1_0_proj.alpha"),
        ("diffusion_model.in.1.0.proj.lora_A.weight", "lora_unet_in_1_0_proj.lora_down.weight"),
        ("diffusion_model.in.1.qkv.lora_up.weight", "lora_unet_in_1_qkv.lora_up.weight"),
        ("diffusion_model.in.1.qkv.hada_w1_a", "lora_unet_in_1_qkv.hada_w1_a"),
    ],
)
def test_other_spellings_get_the_targets_key(name: str, known: str) -> None:
    assert known_keys([name], TARGETS) == {name: known}


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_in_1_0_proj.alpha",  # as it should be
        "lora_unet_down_0_to_q.alpha",  # a part of a fused layer
        "lora_unet_norm_out.alpha",  # its halves stand the other way round in the file
        "oft_te1_layers_0_fc1.oft_blocks",  # unheard of
        "lora_unet_nowhere.alpha",
        "diffusion_model.nowhere.alpha",
    ],
)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert known_keys([name], TARGETS) == {name: name}


def test_no_tensor_takes_the_place_of_another() -> None:
    names = ["lora_unet_in_1_0_proj.alpha", "lora_unet_down_0_proj.alpha"]
    assert known_keys(names, TARGETS) == {name: name for name in names}


def test_modules_know_their_tensors_by_the_names_in_the_file() -> None:
    names = {"lycoris_a.alpha": "lora_unet_b.alpha", "lora_unet_b.hada_w1_a": "lora_unet_b.hada_w1_a"}
    assert by_key(names) == {"lora_unet_b": {"alpha": "lycoris_a.alpha", "hada_w1_a": "lora_unet_b.hada_w1_a"}}
