from __future__ import annotations

from pathlib import Path

import loracore_sdxl as hooks
import pytest
import torch
from loracore_sdxl import targets

from loracore import Models
from tests.plugins.sdxl.golden_keys import CASES, golden, written
from tests.plugins.sdxl.runs import DENOISER, TEXT, config_of, loaded


@pytest.fixture(scope="module")
def full_size() -> Models:
    return loaded(None, device="meta")


@pytest.mark.parametrize(("case", "parts", "conv"), CASES)
def test_keys_shapes_and_order_of_the_full_size_model_are_the_fields(
    full_size: Models, data: Path, case: str, parts: set[str], conv: bool
) -> None:
    assert written(targets.every(full_size, config_of()), parts, conv=conv) == golden(data, case)


def test_targets_are_known_without_any_model(full_size: Models) -> None:
    config = config_of()
    assert hooks.check_options(config) == ()
    models = hooks.load_models(DENOISER | TEXT, torch.device("meta"), torch.float32, config)
    assert [t.key for t in hooks.lora_targets(models, config)] == [t.key for t in targets.every(full_size, config)]


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
