"""The names in files, against lists made from the field's rules alone, for the full-size model."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from loracore_sd15 import lora_targets, models
from tiny_sd15 import MakeConfig

from loracore import LoraTarget

TRANSFORMERS = {
    **{f"down_blocks_{level}_attentions_{layer}": 320 * 2**level for level, layer in product(range(3), range(2))},
    "mid_block_attentions_0": 1280,
    **{
        f"up_blocks_{level}_attentions_{layer}": 320 * 2 ** (3 - level) for level, layer in product((1, 2, 3), range(3))
    },
}
ATTENTION = ("to_q", "to_k", "to_v", "to_out_0")
RESNETS = (
    *(f"down_blocks_{level}_resnets_{layer}" for level, layer in product(range(4), range(2))),
    *("mid_block_resnets_0", "mid_block_resnets_1"),
    *(f"up_blocks_{level}_resnets_{layer}" for level, layer in product(range(4), range(3))),
)
WIDENING = ("down_blocks_1_resnets_0", "down_blocks_2_resnets_0", *(name for name in RESNETS if name.startswith("up")))
SAMPLERS = (
    *(f"down_blocks_{level}_downsamplers_0_conv" for level in range(3)),
    *(f"up_blocks_{level}_upsamplers_0_conv" for level in range(3)),
)


@pytest.fixture
def targets(config: MakeConfig) -> list[LoraTarget]:
    return full_size(config)


def full_size(config: MakeConfig, **given: object) -> list[LoraTarget]:
    options = config(**given)
    parts = frozenset({"text", "denoiser"})
    return list(lora_targets(models.load(parts, torch.device("meta"), torch.float32, options), options))


def shapes_of(transformer: str, width: int) -> dict[str, tuple[int, ...]]:
    """Return the weights of a transformer's layers, one width over, their captions 768."""
    block = f"lora_unet_{transformer}_transformer_blocks_0"
    own = {f"{block}_attn1_{layer}": (width, width) for layer in ATTENTION}
    across = {f"{block}_attn2_{layer}": (width, 768 if layer in {"to_k", "to_v"} else width) for layer in ATTENTION}
    ends = {f"lora_unet_{transformer}_proj_{end}": (width, width, 1, 1) for end in ("in", "out")}
    return {
        **own,
        **across,
        **ends,
        f"{block}_ff_net_0_proj": (8 * width, width),
        f"{block}_ff_net_2": (width, 4 * width),
    }


def test_plain_networks_have_the_192_modules_of_the_unet(targets: list[LoraTarget]) -> None:
    golden = {key: shape for name, width in TRANSFORMERS.items() for key, shape in shapes_of(name, width).items()}
    found = {one.key: tuple(one.layers[0].weight.shape) for one in targets if one.part == "unet" and not one.needs_conv}
    assert len(golden) == 192
    assert found == golden


def test_networks_of_convolutions_have_86_more(targets: list[LoraTarget]) -> None:
    golden = {f"lora_unet_{name}_{layer}" for name in RESNETS for layer in ("conv1", "time_emb_proj", "conv2")}
    golden |= {f"lora_unet_{name}_conv_shortcut" for name in WIDENING} | {f"lora_unet_{name}" for name in SAMPLERS}
    found = [target.key for target in targets if target.needs_conv]
    assert len(found) == 86
    assert set(found) == golden


def test_the_one_text_encoder_has_no_number(targets: list[LoraTarget]) -> None:
    layers = (*(f"self_attn_{name}_proj" for name in ("q", "k", "v", "out")), "mlp_fc1", "mlp_fc2")
    golden = {f"lora_te_text_model_encoder_layers_{n}_{layer}" for n, layer in product(range(12), layers)}
    found = [target.key for target in targets if target.part == "te1"]
    assert len(found) == 72
    assert set(found) == golden


@pytest.mark.parametrize(("skip", "unused"), [(None, 0), (1, 0), (2, 6), (3, 12)])
def test_layers_behind_clip_skip_get_no_gradient(config: MakeConfig, skip: int | None, unused: int) -> None:
    assert sum(target.expected_unused for target in full_size(config, clip_skip=skip)) == unused


def test_block_wise_options_count_25_blocks(targets: list[LoraTarget], config: MakeConfig) -> None:
    parts = frozenset({"denoiser"})
    groups = models.load(parts, torch.device("meta"), torch.float32, config()).block_groups
    assert [len(group) for group in groups.values()] == [12, 1, 12]
    known = {block for group in groups.values() for block in group}
    assert known - {target.block for target in targets} == {"input_blocks.0"}  # conv_in
