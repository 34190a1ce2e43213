from __future__ import annotations

from pathlib import Path

import pytest
from loracore_sd3.options import Sd3NetworkOptions, block_indices, emb_ranks, findings

from loracore import Config, ConfigError, Finding
from loracore.cli.request import read_request
from tests.plugins.sd3.runs import config_of


def told(**options: object) -> list[Finding]:
    return list(findings(config_of(**options)))


def read(*words: str) -> Config:
    return read_request(["--arch", "sd3", *words]).config


def test_defaults_are_fine() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("options", "fate", "option"),
    [
        ({"v2": True}, "unsupported", "v2"),
        ({"v_parameterization": True}, "unsupported", "v_parameterization"),
        ({"clip_skip": 2}, "without effect", "clip_skip"),
        ({"max_token_length": 225}, "without effect", "max_token_length"),
        ({"save_clip": True}, "without effect", "save_clip"),
        ({"save_t5xxl": True}, "without effect", "save_t5xxl"),
        ({"conv_dim": 4}, "without effect", "conv_dim"),
        ({"text_encoder_lr": (1.0, 2.0, 3.0, 4.0)}, "without effect", "text_encoder_lr"),
        ({"emb_dims": "[1,2,3]"}, "wrong", "emb_dims"),
        ({"emb_dims": "1,2,3,4,5,-6"}, "wrong", "emb_dims"),
        ({"emb_dims": "1,2,3,4,5,six"}, "wrong", "emb_dims"),
        ({"train_block_indices": "1,x"}, "wrong", "train_block_indices"),
        ({"train_block_indices": "5-3"}, "wrong", "train_block_indices"),
        ({"train_t5xxl": True, "network_train_unet_only": True}, "without effect", "train_t5xxl"),
        ({"train_t5xxl": True, "t5xxl_device": "cpu"}, "wrong", "t5xxl_device"),
        ({"t5xxl_device": "gpu"}, "wrong", "t5xxl_device"),
        ({"logit_mean": 0.5}, "without effect", "logit_mean"),
        ({"logit_std": 0.5, "weighting_scheme": "mode"}, "without effect", "logit_std"),
        ({"mode_scale": 0.5, "weighting_scheme": "logit_normal"}, "without effect", "mode_scale"),
    ],
)
def test_each_mistake_is_told_once_with_what_to_do(options: dict[str, object], fate: str, option: str) -> None:
    (found,) = told(**options)
    assert (found.fate, found.option) == (fate, option)
    assert found.fix or fate == "without effect"


@pytest.mark.parametrize(
    "options",
    [
        {"emb_dims": "[2,3,4,5,6,7]", "train_block_indices": "0,1,4-5,7"},
        {"train_t5xxl": True, "text_encoder_lr": (1.0, 2.0, 3.0)},
        {"t5xxl_device": "cuda:1", "t5xxl_dtype": "fp8_e4m3fn"},
        {"weighting_scheme": "logit_normal", "logit_mean": 0.5, "logit_std": 0.5},
        {"weighting_scheme": "mode", "mode_scale": 0.5, "training_shift": 3.0},
        {"enable_scaled_pos_embed": True, "pos_emb_random_crop_rate": 0.5},
    ],
)
def test_sound_combinations_are_not_complained_about(options: dict[str, object]) -> None:
    assert told(**options) == []


def test_absent_files_are_told_all_at_once() -> None:
    options = {name: f"no/{name}.safetensors" for name in ("clip_l", "clip_g", "t5xxl", "vae")}
    found = told(pretrained_model_name_or_path="./no/model.safetensors", **options)
    assert {finding.option for finding in found} == {"pretrained_model_name_or_path", *options}
    assert all("no/" in finding.message for finding in found)


def test_one_file_given_twice_is_told(tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    file.touch()
    (found,) = told(clip_l=str(file), t5xxl=str(tmp_path / "." / file.name))
    assert (found.fate, found.option) == ("wrong", "t5xxl")
    assert "clip_l" in found.message


@pytest.mark.parametrize("text", ["[2,3,4,0,6,7]", "2,3,4,0,6,7", " [ 2, 3, 4, 0, 6, 7 ] "])
def test_embedder_ranks_stand_with_or_without_brackets(text: str) -> None:
    assert emb_ranks(config_of(emb_dims=text)) == (2, 3, 4, 0, 6, 7)
    assert emb_ranks(config_of()) is None


@pytest.mark.parametrize(
    ("text", "blocks"),
    [(None, range(8)), ("all", range(8)), ("none", ()), ("0,1,4-5,7", (0, 1, 4, 5, 7)), ("3, 9", (3, 9))],
)
def test_blocks_are_named_by_numbers_and_ranges(text: str | None, blocks: tuple[int, ...]) -> None:
    assert block_indices(config_of(train_block_indices=text), depth=8) == set(blocks)


def test_guides_network_arguments_are_read_as_they_stand_there() -> None:
    kinds = ("context_attn_dim=2", "context_mlp_dim=3", "context_mod_dim=4", "x_attn_dim=5", "x_mlp_dim=6")
    config = read("--network_args", *kinds, "x_mod_dim=7", "emb_dims=[2,3,4,5,6,7]", "verbose=True")
    own = config[Sd3NetworkOptions]
    assert (own.context_attn_dim, own.x_mod_dim, own.verbose) == (2, 7, True)
    assert emb_ranks(config) == (2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize("truth", ["True", "true", "1", "yes"])
def test_every_way_to_say_yes_counts(truth: str) -> None:
    own = read("--network_args", f"split_qkv={truth}", f"train_t5xxl={truth}")[Sd3NetworkOptions]
    assert own.split_qkv
    assert own.train_t5xxl


@pytest.mark.parametrize("value", ['"[2,3,4,5,6,7]"', "[2, 3, 4, 5, 6, 7]"])
def test_embedder_ranks_may_be_a_list_in_a_file(tmp_path: Path, value: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"emb_dims = {value}\ntrain_block_indices = [0, '2-3']\n", encoding="utf-8")
    config = read(str(path))
    assert emb_ranks(config) == (2, 3, 4, 5, 6, 7)
    assert block_indices(config, 8) == {0, 2, 3}


def test_wrong_embedder_ranks_are_told_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("network_dim = 4\nemb_dims = [1, 2]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.toml:2: emb_dims: '1,2' is no list of 6 whole numbers"):
        read(str(path))


@pytest.mark.parametrize(
    "words", [("--weighting_scheme", "sigmoid"), ("--t5xxl_dtype", "fp4"), ("--t5_dropout_rate", "2")]
)
def test_values_beyond_an_option_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=words[0].strip("-")):
        read(*words)
