"""Golden trajectories: twenty training steps whose every random draw is injected, compared with the reference's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore import Batch, Event, Framing, TextConditioning, hookimpl
from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.training.train import train

PREFIX = "model.diffusion_model."


class Injected:
    """An extension that answers what the golden run drew."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        self.stored = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
        self.step = -1
        self.losses: list[float] = []
        self.grad_norms: list[float] = []
        self.events: list[Mapping[str, Any]] = []  # of steps

    @hookimpl
    def prepare_batch(self, batch: Batch) -> Batch:
        self.step += 1
        rows = [(2 * self.step) % 4, (2 * self.step + 1) % 4]
        conditioning = {name: self.stored[f"in.{name}"][rows] for name in ("context", "pooled")}
        latents = torch.stack([self.stored[f"in.x0.{row}"] for row in rows])
        told = replace(batch, latents=latents, conditioning=TextConditioning(conditioning))
        sizes = self.stored.get("in.time_ids")
        return told if sizes is None else replace(told, framings=tuple(framing(sizes[row]) for row in rows))

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

    @hookimpl
    def happened(self, event: Event) -> None:
        if event.kind == "step":
            self.events.append(event.values)


def framing(ids: Tensor) -> Framing:
    height, width, top, left, target_height, target_width = (int(number) for number in ids)
    size = (target_width, target_height)
    return Framing((width, height), (left + target_width, top + target_height), (left, top), size)


def golden(data: Path) -> dict[str, Any]:
    """Return every case, and the configurations of the tiny models."""
    found: dict[str, Any] = json.loads((data / "trajectories.json").read_text("utf-8"))
    return found


def golden_weights(path: Path) -> dict[str, Tensor]:
    """Return a tiny model's tensors in the original layout, without prefix."""
    return {name.removeprefix(PREFIX): tensor.float() for name, tensor in load_file(path).items()}


def flags(options: dict[str, Any]) -> list[str]:
    """Return a case's options as flags."""
    listed = [(f"--{name}", value if isinstance(value, list) else [value]) for name, value in options.items()]
    return [word for flag, values in listed if values for word in (flag, *map(str, values))]


def assert_followed(
    case: dict[str, Any], data: Path, model: Path, tmp_path: Path, words: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """Train a case on a model with these options; losses, norms and the LoRA must be the reference's.

    Return what was told of each step.
    """
    stored = load_file(data / case["file"])
    injected = Injected(stored)
    path = train_injected(injected, model, tmp_path, words)
    tolerance = case["tolerance"]
    assert injected.losses == pytest.approx(case["losses"], rel=tolerance["loss_relative_max"])
    norms = case["grad_norms_before_clipping"]
    assert injected.grad_norms == pytest.approx(norms, rel=tolerance["grad_norm_relative_max"])
    finals = {name.removeprefix("final."): t for name, t in stored.items() if name.startswith("final.")}
    last = load_file(path)
    differences = torch.cat([(last[name] - tensor).abs().flatten() for name, tensor in finals.items()])
    assert len(last) == len([name for name in stored if name.startswith("init.")])
    assert differences.mean() <= tolerance["final_mean_abs_max"]
    assert differences.max() <= tolerance["final_max_abs_max"]
    return injected.events


def train_injected(injected: Injected, model: Path, tmp_path: Path, words: Sequence[str]) -> Path:
    """Train twenty steps on a model with these options and what is injected; return the LoRA."""
    stored = injected.stored
    first = {name.removeprefix("init."): t for name, t in stored.items() if name.startswith("init.")}
    save_file(first, tmp_path / "init.safetensors")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64)).save(pictures / f"{number}.png")
    request = read_request(
        [
            *("--pretrained_model_name_or_path", str(model), "--output_dir", str(tmp_path / "out")),
            *("--train_data_dir", str(pictures), "--resolution", "64", "--train_batch_size", "2"),
            *("--network_weights", str(tmp_path / "init.safetensors"), "--network_train_unet_only"),
            *("--learning_rate", "1e-3", "--max_train_steps", "20", "--seed", "0"),
            *words,
        ]
    )
    request.plugins.register(injected, name="extension injected")
    path = train(request.config, request.plugins, read_datasets(request.config, request.document))
    assert path is not None
    return path
