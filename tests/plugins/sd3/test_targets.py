"""Keys, shapes and order of LoRA files are the field's, for full-size models on the meta device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from loracore_networks.lora.building import build_lora
from loracore_sd3 import targets
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from loracore import ConfigError, LoraTarget, Models
from loracore.diffusion.files.loading import building_quietly
from tests.plugins.sd3.runs import config_of

Rows = list[tuple[str, list[int]]]

#: The sizes of the three kinds of model.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "sd3-medium": {"num_layers": 24},
    "sd3.5-medium": {"num_layers": 24, "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13))},
    "sd3.5-large": {"num_layers": 38, "qk_norm": "rms_norm"},
}
GUIDE_KINDS = {
    "context_attn_dim": 2,
    "context_mlp_dim": 3,
    "context_mod_dim": 4,
    "x_attn_dim": 5,
    "x_mlp_dim": 6,
    "x_mod_dim": 7,
}


@cache
def transformer(kind: str) -> Models:
    depth = KINDS[kind]["num_layers"]
    width = 64 * depth
    with building_quietly():
        made = SD3Transformer2DModel(
            sample_size=128,
            num_attention_heads=depth,
            attention_head_dim=64,
            joint_attention_dim=4096,
            caption_projection_dim=width,
            pooled_projection_dim=2048,
            in_channels=16,
            out_channels=16,
            pos_embed_max_size=192,
            **KINDS[kind],
        )
    return Models(denoiser=made)


@cache
def encoders() -> Models:
    large = {"projection_dim": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu"}
    t5 = T5Config(d_model=4096, d_ff=10240, num_layers=24, num_heads=64, d_kv=64, feed_forward_proj="gated-gelu")
    with building_quietly():
        first = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, projection_dim=768)
        second = CLIPTextConfig(hidden_size=1280, intermediate_size=5120, **large)
        made = [CLIPTextModelWithProjection(one) for one in (first, second)]
        return Models(text={"te1": made[0], "te2": made[1], "te3": T5EncoderModel(t5)})


def chosen(models: Models, **options: object) -> list[LoraTarget]:
    return list(targets.every(models, config_of(network_dim=4, **options)))


def written(models: Models, **options: object) -> Rows:
    """Return the names and shapes of what LoRA writes, in its order."""
    config = config_of(network_dim=4, **options)
    rows: Rows = []
    for target in targets.every(models, config):
        adapter = build_lora(target, None, config)
        if adapter is not None:
            rows += [(f"{target.key}.{name}", list(t.shape)) for name, t in adapter.file_tensors().items()]
    return rows


def golden(data: Path, kind: str, case: str) -> list[Any]:
    everything = json.loads((data / "lora-keys-sd3.json").read_text(encoding="utf-8"))
    found: list[Any] = (everything["models"] | {"text": everything["text_encoders"]})[kind][case]
    return found


def rows(listed: list[Any]) -> Rows:
    return [(name, shape) for name, shape in listed]


@pytest.mark.parametrize("kind", ["sd3-medium", "sd3.5-medium"])
@pytest.mark.parametrize(("case", "options"), [("default", {}), ("guide_type_dims", GUIDE_KINDS)])
def test_keys_shapes_and_order_are_the_fields(data: Path, kind: str, case: str, options: dict[str, int]) -> None:
    assert written(transformer(kind), **options) == rows(golden(data, kind, case))


def test_large_has_every_linear_of_38_blocks_and_no_second_attention() -> None:
    keys = [target.key for target in chosen(transformer("sd3.5-large")) if target.rank != 0]
    assert len(keys) == 377
    assert not any("attn2" in key for key in keys)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("case", "dims"),
    [
        ("emb_dims_2_3_4_5_6_7", "[2,3,4,5,6,7]"),
        ("emb_dims_2_3_4_5_6_7", "2,3,4,5,6,7"),
        ("emb_dims_4_0_0_4_0_0", "[4,0,0,4,0,0]"),
    ],
)
def test_emb_dims_adapt_the_conditioning_layers(data: Path, kind: str, case: str, dims: str) -> None:
    extra = [row for row in written(transformer(kind), emb_dims=dims) if "joint_blocks" not in row[0]]
    expected = [row for row in rows(golden(data, kind, case)) if "joint_blocks" not in row[0]]
    if case.endswith("4_0_0_4_0_0"):
        assert sorted(extra) == sorted(expected)
    else:
        assert extra == expected


@pytest.mark.parametrize("kind", ["sd3-medium", "sd3.5-large"])
def test_train_block_indices_choose_blocks(data: Path, kind: str) -> None:
    found = {name.partition(".")[0] for name, _ in written(transformer(kind), train_block_indices="1,2,6-8")}
    assert found == set(golden(data, kind, "train_block_indices_1,2,6-8"))


def test_no_block_trains_with_none() -> None:
    assert written(transformer("sd3-medium"), train_block_indices="none") == []


def test_split_qkv_writes_one_key_of_three_times_the_rank(data: Path) -> None:
    kept = [row for row in written(transformer("sd3.5-medium"), split_qkv=True) if "blocks_0_" in row[0]]
    expected = rows(golden(data, "sd3.5-medium", "split_qkv_block0_qkv_only"))
    assert {row[0]: row[1] for row in kept if "qkv" in row[0]} == dict(expected)


def test_a_block_beyond_the_models_depth_is_named() -> None:
    with pytest.raises(ConfigError, match=r"names 24, 40, but this model's blocks are 0-23"):
        chosen(transformer("sd3-medium"), train_block_indices="1,24,40")


def test_text_encoders_have_the_fields_keys(data: Path) -> None:
    expected = rows(golden(data, "text", "clip_l+clip_g"))
    assert written(encoders()) == expected
    with_t5 = expected + rows(golden(data, "text", "with_train_t5xxl"))
    assert written(encoders(), train_t5xxl=True) == with_t5


def test_alpha_of_every_place_is_network_alpha(data: Path) -> None:
    config = config_of(network_dim=4, network_alpha=3.0, conv_dim=8, conv_alpha=5.0, emb_dims="4,4,4,4,4,4")
    made = [build_lora(target, None, config) for target in targets.every(transformer("sd3-medium"), config)]
    assert {adapter.alpha_value for adapter in made if adapter} == {3.0}


def test_only_rows_of_two_layers_are_swapped_in_the_file() -> None:
    swapped = [target.key for target in chosen(transformer("sd3-medium")) if target.swapped_halves]
    ends = ["joint_blocks_23_context_block_adaLN_modulation_1", "final_layer_adaLN_modulation_1"]
    assert swapped == [f"lora_unet_{end}" for end in ends]


def test_fused_projections_share_one_target_and_know_their_block() -> None:
    first = chosen(transformer("sd3.5-medium"))[0]
    assert first.paths == tuple(f"transformer_blocks.0.attn.add_{name}_proj" for name in "qkv")
    assert (first.block, first.separate) == ("joint_blocks.0", False)
    assert all(layer.weight.device == torch.device("meta") for layer in first.layers)
