"""Twenty training steps with every random draw injected must give the reference trainer's losses and LoRA."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from loracore_sd3.names import transformer_names
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore import Batch, TextConditioning, hookimpl
from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.training.train import train
from tests.plugins.sd3 import tiny

PREFIX = "model.diffusion_model."


class Injected:
    """An extension that answers what the golden run drew."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        self.stored = {name: tensor.float() for name, tensor in stored.items()}
        self.step = -1
        self.losses: list[float] = []
        self.grad_norms: list[float] = []

    @hookimpl
    def prepare_batch(self, batch: Batch) -> Batch:
        self.step += 1
        rows = [(2 * self.step) % 4, (2 * self.step + 1) % 4]
        conditioning = {name: self.stored[f"in.{name}"][rows] for name in ("context", "pooled")}
        latents = torch.stack([self.stored[f"in.x0.{row}"] for row in rows])
        return replace(batch, latents=latents, conditioning=TextConditioning(conditioning))

    @hookimpl
    def draw_timesteps(self) -> Tensor:
        return self.stored["in.timesteps"][self.step]

    @hookimpl
    def draw_noise(self) -> Tensor:
        return self.stored[f"in.noise.{self.step:02d}"]

    @hookimpl
    def step_done(self, loss: Tensor, grad_norm: Tensor) -> None:
        self.losses.append(loss.item())
        self.grad_norms.append(grad_norm.item())


def write_model(folder: Path, weights: Path, config: dict[str, Any]) -> Path:
    """Write the golden transformer, with text encoders and VAE that the run loads and the injected batch ignores."""
    tiny.write_folder(folder)
    typed = {**config, "dual_attention_layers": (), "qk_norm": None}
    transformer = SD3Transformer2DModel(**typed)
    tensors = {name.removeprefix(PREFIX): tensor.float() for name, tensor in load_file(weights).items()}
    places = transformer_names(transformer)
    transformer.load_state_dict({name: place.from_file(tensors[place.name]) for name, place in places.items()})
    transformer.save_pretrained(folder / "transformer")
    return folder


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "trajectories.json").read_text("utf-8"))
    return found


def flags(options: dict[str, Any]) -> list[str]:
    """Return a case's options as flags."""
    listed = [(f"--{name}", value if isinstance(value, list) else [value]) for name, value in options.items()]
    return [word for flag, values in listed if values for word in (flag, *map(str, values))]


@pytest.mark.parametrize("name", ["sd3-sigma_sqrt", "sd3-uniform"])
def test_the_trajectory_is_the_references(data: Path, tmp_path: Path, golden: dict[str, Any], name: str) -> None:
    case = golden["cases"][name]
    stored = load_file(data / case["file"])
    first = {name.removeprefix("init."): t.float() for name, t in stored.items() if name.startswith("init.")}
    save_file(first, tmp_path / "init.safetensors")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64)).save(pictures / f"{number}.png")
    model = write_model(tmp_path / "model", data / case["base_weights"], golden["diffusers_config_sd3"])
    request = read_request(
        [
            *("--arch", "sd3", "--pretrained_model_name_or_path", str(model), "--output_dir", str(tmp_path / "out")),
            *("--train_data_dir", str(pictures), "--resolution", "64", "--train_batch_size", "2"),
            *("--network_weights", str(tmp_path / "init.safetensors"), "--network_train_unet_only"),
            *("--learning_rate", "1e-3", "--max_train_steps", "20", "--seed", "0"),
            *flags(case["options"]),
        ]
    )
    injected = Injected(stored)
    request.plugins.register(injected, name="extension injected")
    path = train(request.config, request.plugins, read_datasets(request.config, request.document))
    assert path is not None
    tolerance = case["tolerance"]
    assert injected.losses == pytest.approx(case["losses"], rel=tolerance["loss_relative_max"])
    norms = case["grad_norms_before_clipping"]
    assert injected.grad_norms == pytest.approx(norms, rel=tolerance["grad_norm_relative_max"])
    last = load_file(path)
    differences = torch.cat(
        [
            (last[name.removeprefix("final.")] - t).abs().flatten()
            for name, t in stored.items()
            if name.startswith("final.")
        ]
    )
    assert len(last) == len(first)
    assert differences.mean() <= tolerance["final_mean_abs_max"]
    assert differences.max() <= tolerance["final_max_abs_max"]
