"""Twenty training steps with every random draw injected must give the reference trainer's losses and LoRA."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from loracore_sdxl.names import unet_names
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from loracore import NoisyBatch, Prediction, hookimpl
from tests.plugins.sdxl import tiny
from tests.plugins.sdxl.test_blocks import groups
from tests.plugins.trajectories import Injected, assert_followed, flags, golden, golden_weights, train_injected


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
    assert arguments == {"loraplus_unet_lr_ratio": 4.0, "down_lr_weight": "cosine", "dropout": None}


def test_the_groups_of_the_block_wise_trajectory_are_the_references(data: Path, tmp_path: Path) -> None:
    found = golden(data)
    case = found["cases"]["sdxl-loraplus"]
    model = write_model(tmp_path / "model", data / case["base_weights"], found["diffusers_config_sdxl"])
    words = ("--unet_lr", "1e-3", "--network_args", *case["options"]["network_args"])
    expected = [(group["name"], group["lr"], group["tensors"]) for group in case["optimizer_groups"]]
    assert groups("--pretrained_model_name_or_path", str(model), *words) == expected


def test_the_huber_trajectory_under_a_norm_limit_is_the_references(data: Path, tmp_path: Path) -> None:
    found = golden(data)
    case = found["cases"]["sdxl-huber"]
    model = write_model(tmp_path / "model", data / case["base_weights"], found["diffusers_config_sdxl"])
    steps = assert_followed(case, data, model, tmp_path, ["--arch", "sdxl", *flags(case["options"])])
    expected = case["norm_limit_per_step [modules scaled, mean norm, max norm]"]
    assert [step["keys_scaled"] for step in steps] == [scaled for scaled, _, _ in expected]
    # means of 192 norms, in float32
    assert [step["average_key_norm"] for step in steps] == pytest.approx([mean for _, mean, _ in expected], rel=1e-5)
    assert [step["max_key_norm"] for step in steps] == pytest.approx([largest for *_, largest in expected], rel=1e-5)


class Velocity(Injected):
    """Computes beside every step what its loss must be with v-prediction and min-SNR, in float64, from the schedule."""

    def __init__(self, stored: dict[str, Tensor], gamma: float) -> None:
        super().__init__(stored)
        self.gamma = gamma
        self.expected: list[float] = []

    @hookimpl(wrapper=True)
    def predict_noise(self, batch: NoisyBatch) -> Generator[None, Prediction, Prediction]:
        prediction = yield
        roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000)  # float32, as in the reference
        kept = torch.cumprod(1 - roots**2, 0)[self.stored["in.timesteps"][self.step]].double()
        latents, noise = batch.batch.latents.double(), self.stored[f"in.noise.{self.step:02d}"].double()
        target = kept.sqrt().view(-1, 1, 1, 1) * noise - (1 - kept).sqrt().view(-1, 1, 1, 1) * latents
        snr = kept / (1 - kept)
        losses = (prediction.output.detach().double() - target).square().mean(dim=(1, 2, 3))
        self.expected.append((losses * snr.clamp(max=self.gamma) / (snr + 1)).mean().item())
        return prediction


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_losses_of_v_prediction_with_min_snr_are_those_of_the_paper(data: Path, tmp_path: Path, gamma: float) -> None:
    found = golden(data)
    case = found["cases"]["sdxl-eps"]
    model = write_model(tmp_path / "model", data / case["base_weights"], found["diffusers_config_sdxl"])
    injected = Velocity(load_file(data / case["file"]), gamma)
    words = ("--arch", "sdxl", "--network_dim", "4", "--network_alpha", "2", "--v_parameterization")
    train_injected(injected, model, tmp_path, (*words, "--min_snr_gamma", str(gamma)))
    assert injected.losses == pytest.approx(injected.expected, rel=1e-6)  # a few roundings of float32
