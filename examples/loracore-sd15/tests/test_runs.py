"""Whole runs of the tiny model, and the contract of architectures."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_sd15 import Train

from loracore.testing import check_architecture

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SIZES = ("--resolution", "64", "--enable_bucket", "--min_bucket_reso", "64", "--bucket_reso_steps", "64")


def header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        found: dict[str, str] = file.metadata()
    return found


def changes(path: Path) -> dict[str, torch.Tensor]:
    """Return up · down · alpha / rank of each module: diffusers' names have no alpha, which is in the factors there."""
    found = load_file(path)
    pairs = {name.removesuffix(".alpha"): alpha for name, alpha in found.items() if name.endswith(".alpha")}
    return {
        key: found[f"{key}.lora_up.weight"].flatten(1) @ down.flatten(1) * (alpha / len(down))
        for key, alpha in pairs.items()
        for down in [found[f"{key}.lora_down.weight"]]
    }


def test_the_contract_of_architectures_is_kept(folder: Path) -> None:
    check_architecture("sd15", pretrained_model_name_or_path=str(folder), bucket_reso_steps=64, min_bucket_reso=64)


def test_file_and_folder_train_the_same_lora(train: Train, folder: Path, checkpoint: Path) -> None:
    one, other = load_file(train(folder, "of-folder")), load_file(train(checkpoint, "of-file"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert len(one) == 3 * (16 * 12 + 3 * 6)
    assert all(tensor.any() for name, tensor in one.items() if name.endswith("lora_up.weight"))


def test_convolutions_train_and_blocks_have_ranks(train: Train, folder: Path) -> None:
    ranks = ",".join(["2"] * 12 + ["0"] + ["4"] * 12)
    tensors = load_file(train(folder, "conv", "--network_args", f"block_dims={ranks}", "conv_dim=1"))
    assert not any("mid_block_attentions" in name for name in tensors)
    assert tensors["lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight"].shape == (1, 8, 3, 3)
    assert tensors["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"].shape == (2, 8, 1, 1)
    assert tensors["lora_unet_up_blocks_3_attentions_2_proj_out.lora_up.weight"].shape == (8, 4, 1, 1)


def test_memory_options_change_nothing(train: Train, folder: Path) -> None:
    plain = load_file(train(folder, "plain"))
    sparing = load_file(train(folder, "sparing", "--gradient_checkpointing", "--blocks_to_swap", "4"))
    torch.testing.assert_close(sparing, plain, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_ends_as_if_it_had_never_stopped(train: Train, folder: Path, tmp_path: Path) -> None:
    whole = load_file(train(folder, "whole", "--save_every_n_steps", "1", "--save_state"))
    state = next((tmp_path / "out").glob("whole-*1-state"))
    again = load_file(train(folder, "again", "--resume", str(state)))
    torch.testing.assert_close(again, whole, rtol=0, atol=0)


def test_a_file_with_a_text_encoder_is_trained_on_without_it(train: Train, folder: Path) -> None:
    first = train(folder, "first")
    start = ("--network_weights", str(first), "--dim_from_weights")
    still = load_file(train(folder, "still", *start, "--text_encoder_lr", "0"))
    alone = load_file(train(folder, "alone", *start, "--network_train_unet_only"))
    assert {name for name in still if name not in alone} == {name for name in load_file(first) if "_te_" in name}


def test_keys_are_converted_there_and_back(loracore_cli: Cli, train: Train, folder: Path, tmp_path: Path) -> None:
    first, there, back = train(folder, "first"), tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    model = ("--arch", "sd15", "--pretrained_model_name_or_path", folder)
    for source, to, path in ((first, "diffusers", there), (there, "kohya", back)):
        done = loracore_cli("convert", *model, "--network_weights", source, "--to", to, "--save_to", path)
        assert done.returncode == 0, done.stderr
    assert any(name.startswith("text_encoder.text_model.") for name in load_file(there))
    torch.testing.assert_close(changes(back), changes(first), rtol=1e-5, atol=1e-8)


def test_headers_say_what_the_model_predicts(train: Train, folder: Path) -> None:
    noise, v = header(train(folder, "noise")), header(train(folder, "v", "--v_parameterization", "--clip_skip", "2"))
    assert (noise["ss_base_model_version"], v["ss_base_model_version"]) == ("sd_v1", "sd_v1_v")
    assert {one["modelspec.architecture"] for one in (noise, v)} == {"stable-diffusion-v1/lora"}
    assert (noise["modelspec.prediction_type"], v["modelspec.prediction_type"]) == ("epsilon", "v")
    assert (v["modelspec.encoder_layer"], v["ss_clip_skip"], v["ss_v2"]) == ("2", "2", "False")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of diffusers
def test_previews_are_drawn(train: Train, folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 128 --s 2 --n blurry\n", encoding="utf-8")
    train(folder, "drawn", "--sample_prompts", str(prompts), "--sample_every_n_steps", "2")
    (drawn,) = (tmp_path / "out" / "sample").glob("*.png")
    with Image.open(drawn) as picture:
        assert picture.size == (64, 128)


def test_a_v_model_is_told_by_its_scheduler(loracore_cli: Cli, folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "v"))
    (copy / "scheduler").mkdir()
    settings = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
    (copy / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings), encoding="utf-8")
    told = loracore_cli("targets", "--arch", "sd15", "--pretrained_model_name_or_path", copy)
    assert told.returncode == 0, told.stderr
    assert "v_parameterization is on" in told.stderr


def test_the_command_trains(loracore_cli: Cli, folder: Path, loracore_pictures: Path, tmp_path: Path) -> None:
    words = ("--arch", "sd15", "--pretrained_model_name_or_path", folder, "--train_data_dir", loracore_pictures)
    places = ("--output_dir", tmp_path / "out", "--output_name", "spots", "--caption_extension", ".txt")
    done = loracore_cli("train", *words, *places, *SIZES, "--max_train_steps", "2", "--train_batch_size", "2")
    assert done.returncode == 0, done.stderr
    assert "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight" in load_file(tmp_path / "out/spots.safetensors")


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (("--v2", "--clip_skip", "13"), ("v2 means Stable Diffusion 2, not 1", "at most 12")),
        (("--max_token_length", "80"), ("captions are encoded in chunks of 75 tokens",)),
        (("--enable_bucket", "--bucket_reso_steps", "32"), ("this model needs multiples of 64 pixels",)),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    loracore_cli: Cli, folder: Path, loracore_pictures: Path, flags: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    words = ("--arch", "sd15", "--pretrained_model_name_or_path", folder, "--train_data_dir", loracore_pictures)
    done = loracore_cli("train", *words, "--resolution", "256", "--output_dir", "out", *flags)
    assert done.returncode == 2
    assert all(message in done.stderr for message in messages), done.stderr
    assert "latents" not in done.stderr
