"""Twenty training steps with every random draw injected must give the reference trainer's losses and LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from loracore_sdxl.names import unet_names
from safetensors import safe_open

from tests.plugins.sdxl import tiny
from tests.plugins.sdxl.test_blocks import groups
from tests.plugins.trajectories import assert_followed, golden, golden_weights


def write_model(folder: Path, weights: Path, config: dict[str, Any]) -> Path:
    """Write the golden U-Net, with text encoders and VAE that the run loads and the injected batch ignores."""
    tiny.write_folder(folder)
    unet = UNet2DConditionModel(**config)
    tensors = golden_weights(weights)
    unet.load_state_dict({name: tensors[place.name] for name, place in unet_names(unet).items()})
    unet.save_pretrained(folder / "unet")
    return folder


def test_the_epsilon_trajectory_is_the_references(data: Path, tmp_path: Path) -> None:
    found = golden(data)
    case = found["cases"]["sdxl-eps"]
    model = write_model(tmp_path / "model", data / case["base_weights"], found["diffusers_config_sdxl"])
    words = ("--arch", "sdxl", "--network_module", "networks.lora", "--network_dim", "4", "--network_alpha", "2")
    assert_followed(case, data, model, tmp_path, words)


def test_the_block_wise_trajectory_with_lora_plus_is_the_references(data: Path, tmp_path: Path) -> None:
    found = golden(data)
    case = found["cases"]["sdxl-loraplus"]
    model = write_model(tmp_path / "model", data / case["base_weights"], found["diffusers_config_sdxl"])
    words = ("--arch", "sdxl", "--network_dim", "2", "--network_args", *case["options"]["network_args"])
    assert_followed(case, data, model, tmp_path, words)
    with safe_open(tmp_path / "out" / "last.safetensors", "pt") as file:
        arguments = json.loads(file.metadata()["ss_network_args"])
    assert arguments == {"loraplus_unet_lr_ratio": 4.0, "down_lr_weight": "cosine"}


def test_the_groups_of_the_block_wise_trajectory_are_the_references(data: Path, tmp_path: Path) -> None:
    found = golden(data)
    case = found["cases"]["sdxl-loraplus"]
    model = write_model(tmp_path / "model", data / case["base_weights"], found["diffusers_config_sdxl"])
    words = ("--unet_lr", "1e-3", "--network_args", *case["options"]["network_args"])
    expected = [(group["name"], group["lr"], group["tensors"]) for group in case["optimizer_groups"]]
    assert groups("--pretrained_model_name_or_path", str(model), *words) == expected
