from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from loracore_sdxl import targets
from torch import nn

from loracore import LoraTarget, Models
from tests.plugins.sdxl.runs import DENOISER, TEXT, config_of, loaded


@pytest.fixture(scope="module")
def full_size() -> Models:
    return loaded(None, device="meta")


def lora_tensors(target: LoraTarget, rank: int) -> list[list[object]]:
    """What LoRA of this rank writes for a target: names and shapes, in the reference's order."""
    layer = target.layers[0]
    if isinstance(layer, nn.Conv2d):
        down, up = [rank, layer.in_channels, *layer.kernel_size], [layer.out_channels, rank, 1, 1]
    else:
        assert isinstance(layer, nn.Linear)
        down, up = [rank, layer.in_features], [layer.out_features, rank]
    return [
        [f"{target.key}.alpha", []],
        [f"{target.key}.lora_down.weight", down],
        [f"{target.key}.lora_up.weight", up],
    ]


@pytest.mark.parametrize(
    ("case", "parts", "conv"),
    [
        ("unet_only", {"unet"}, False),
        ("unet_te1_te2", {"unet", "te1", "te2"}, False),
        ("unet_only_conv_dim4", {"unet"}, True),
    ],
)
def test_keys_shapes_and_order_of_the_full_size_model_are_the_fields(
    full_size: Models, data: Path, case: str, parts: set[str], conv: bool
) -> None:
    golden = json.loads((data / "lora-keys-sdxl.json").read_text(encoding="utf-8"))["cases"][case]
    chosen = [t for t in targets.every(full_size, config_of()) if t.part in parts and (conv or not t.needs_conv)]
    assert [row for target in chosen for row in lora_tensors(target, rank=4)] == golden


def test_only_loaded_parts_are_targets(folder: Path) -> None:
    models = loaded(folder, TEXT)
    assert {target.part for target in targets.every(models, config_of())} == {"te1", "te2"}


def test_only_the_last_layer_of_text_encoder_1_is_unused(full_size: Models) -> None:
    unused = {t.block for t in targets.every(full_size, config_of()) if t.expected_unused and t.part == "te1"}
    elsewhere = [t for t in targets.every(full_size, config_of()) if t.expected_unused and t.part != "te1"]
    assert unused == {"layers.11"}
    assert elsewhere == []


def test_unused_targets_are_those_without_a_gradient(folder: Path) -> None:
    from loracore_sdxl import text

    models = loaded(folder, TEXT)
    for encoder in models.text.values():
        encoder.requires_grad_(True)
    states = text.encode(models, ["a cat"], config_of())
    torch.autograd.backward([tensor.square().sum() for tensor in states.tensors.values()])
    for target in targets.every(models, config_of()):
        weight = target.layers[0].get_parameter("weight")
        assert (weight.grad is None) == target.expected_unused, target.key


def test_each_text_encoder_has_its_own_learning_rate(folder: Path) -> None:
    config = config_of(folder, text_encoder_lr1=1e-5, text_encoder_lr2=2e-5)
    rates = {target.part: target.lr for target in targets.every(loaded(folder), config)}
    assert rates == {"te1": 1e-5, "te2": 2e-5, "unet": None}


def test_blocks_are_those_of_the_original_layout(full_size: Models) -> None:
    by_block = {target.key: target.block for target in targets.every(full_size, config_of())}
    assert by_block["lora_unet_input_blocks_4_1_proj_in"] == "input_blocks.4"
    assert by_block["lora_unet_middle_block_1_proj_out"] == "middle_block.1"
    assert by_block["lora_unet_output_blocks_2_2_conv"] == "output_blocks.2"


def test_unet_blocks_are_listed_in_execution_order(folder: Path) -> None:
    models, seen = loaded(folder, DENOISER), []
    for block in models.blocks["unet"]:
        block.register_forward_hook(lambda module, *_: seen.append(module))
    unet = models.denoiser
    assert unet is not None
    added = {"text_embeds": torch.zeros(1, 24), "time_ids": torch.zeros(1, 6)}
    unet(torch.zeros(1, 4, 8, 8), 5, torch.zeros(1, 77, 40), added_cond_kwargs=added)
    assert seen == list(models.blocks["unet"])
