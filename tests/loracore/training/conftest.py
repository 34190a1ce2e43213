"""Whole runs of the toy architecture, each watched by a plugin that notes what is loaded, encoded and read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from loracore import Latents, NoisyBatch, Prediction, hookimpl
from loracore.training.run import Run
from loracore.types import Batch
from tests.toy_runs import TrainToy

Trained = Callable[..., "Outcome"]
WriteData = Callable[..., tuple[str, ...]]

DISK = ("--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk")


class Watch:
    """Notes what a run loads, encodes and reads; ends it as by Ctrl+C after ``stop_after`` calls of the VAE."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.loaded: set[str] = set()
        self.images: list[torch.Tensor] = []
        self.captions: list[str] = []
        self.batches: list[Batch] = []
        self.ids: list[tuple[str, ...]] = []
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.notes: list[str] = []

    @hookimpl(wrapper=True)
    def load_models(self, parts: frozenset[str], device: torch.device) -> Generator[None, Any, Any]:
        self.loaded |= set(parts) if device.type != "meta" else set()
        return (yield)

    @hookimpl(wrapper=True)
    def encode_images(self, images: torch.Tensor) -> Generator[None, Latents, Latents]:
        if self.stop_after is not None and len(self.images) >= self.stop_after:
            raise KeyboardInterrupt
        self.images += list(images)
        return (yield)

    @hookimpl(wrapper=True)
    def encode_text(self, captions: list[str]) -> Generator[None, Any, Any]:
        self.captions += captions
        return (yield)

    @hookimpl(wrapper=True)
    def predict_noise(self, batch: NoisyBatch) -> Generator[None, Prediction, Prediction]:
        self.batches.append(batch.batch)
        return (yield)

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.notes = list(run.notes)

    @hookimpl
    def step_done(self, loss: torch.Tensor, grad_norm: torch.Tensor, ids: tuple[str, ...]) -> None:
        self.losses.append(loss.item())
        self.norms.append(grad_norm.item())
        self.ids.append(ids)

    @property
    def encoded(self) -> tuple[int, int]:
        """Pictures and captions that were encoded."""
        return len(self.images), len(self.captions)

    @property
    def read(self) -> list[str]:
        """The captions that steps read, in their order."""
        return [caption for batch in self.batches for caption in batch.captions]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run leaves behind."""

    path: Path
    watch: Watch
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def equals(self, other: Outcome) -> bool:
        """Tell whether two runs made the same LoRA, bit for bit."""
        mine, theirs = self.tensors, other.tensors
        return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)

    @property
    def moved(self) -> bool:
        """Tell whether training has changed anything: every adapter starts with an up matrix of zeros."""
        return any(bool(tensor.any()) for name, tensor in self.tensors.items() if "lora_up" in name)


def aged(path: Path, seconds: int = 1_000_000_000) -> Path:
    """Set a time of change long ago, so that nothing doubts it."""
    os.utime(path, (seconds, seconds))
    return path


@pytest.fixture
def trained(train_toy: TrainToy, tmp_path: Path) -> Trained:
    """Train the toy with some more flags, under a new name each time, with one cache folder for all of the test."""
    numbers = itertools.count()

    def run(*words: str, watch: Watch | None = None) -> Outcome:
        watch = watch or Watch()
        folder = () if "--cache_dir" in words else ("--cache_dir", str(tmp_path / "cache"))
        path = train_toy("--output_name", f"run{next(numbers)}", *folder, *words, plugin=watch)
        return replace(Outcome(path, watch), tensors=load_file(path))

    return run


@pytest.fixture
def write_data(tmp_path: Path, toy_config: Path) -> WriteData:
    """Write a data-set file in the place of the toy's own folder; return the flags that name it."""
    options = "".join(line for line in toy_config.read_text("utf-8").splitlines(True) if "train_data_dir" not in line)
    numbers = itertools.count()

    def write(*datasets: dict[str, Any], **general: Any) -> tuple[str, ...]:
        toy_config.write_text(options, encoding="utf-8")
        path = tmp_path / f"data{next(numbers)}.toml"
        path.write_text(tomli_w.dumps({"general": general, "datasets": list(datasets)}), encoding="utf-8")
        return ("--dataset_config", str(path))

    return write
