"""A short run of a tiny model that draws previews, and the same pictures drawn with the file that it saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from loracore import Drawing, Event, hookimpl
from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.training.assembly.phases import Loading
from loracore.training.sampling import Sampling, sample
from loracore.training.train import train

Pixels = NDArray[np.int64]


class Heard:
    """Keeps what is told of previews."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def happened(self, event: Event) -> None:
        if event.kind.startswith("preview"):
            self.events.append(event)


@dataclass(frozen=True, eq=False)
class Previewed:
    """What such a run leaves."""

    words: Sequence[str]
    network: Path
    events: Sequence[Event]

    @property
    def messages(self) -> list[str]:
        return [event.values["message"] for event in self.events if event.kind == "preview_failed"]

    def live(self, number: int) -> Pixels:
        """Return a preview as it was drawn in the run."""
        with Image.open(self.events[number].values["path"]) as picture:
            return np.asarray(picture).astype(int)

    def loaded_back(self, prompt: str, drawing: Drawing, seed: int, negative: str = "") -> Pixels:
        """Return the picture that the saved file draws."""
        request = read_request(self.words)
        loading = Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config)
        (picture,) = sample(loading, Sampling([prompt], drawing, seed, negative), load_file(self.network))
        return np.asarray(picture).astype(int)


def previewed(arch: str, model: Path, pictures: Path, folder: Path, prompts: str, *more: str) -> Previewed:
    """Train two steps and draw the prompts before and after them."""
    file = folder / "prompts.txt"
    file.write_text(prompts, encoding="utf-8")
    words = [
        *("--arch", arch, "--pretrained_model_name_or_path", str(model), "--train_data_dir", str(pictures)),
        *("--caption_extension", ".txt", "--resolution", "64", "--max_train_steps", "2", "--learning_rate", "1e-2"),
        *("--output_dir", str(folder / "out"), "--sample_prompts", str(file), "--seed", "1", "--sample_at_first"),
        *("--sample_every_n_steps", "2", *more),
    ]
    request, heard = read_request(words), Heard()
    request.plugins.register(heard)
    network = train(request.config, request.plugins, read_datasets(request.config, request.document), request.notes)
    assert network is not None
    return Previewed(words, network, heard.events)
