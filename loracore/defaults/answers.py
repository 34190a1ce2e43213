"""The core's answers to the hooks that an architecture need not answer."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from loracore import LoracoreError, ModelOptions, TrainingOptions, hookimpl
from loracore.config.options import CORE_OPTIONS

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from loracore.config.config import Config
    from loracore.noise.rng import SampleRng
    from loracore.types import Batch, DemoKit, FieldFiles, NoisyBatch, Prediction
    from loracore.weights.layout import PartNames


@hookimpl
def prepare_batch(batch: Batch) -> Batch:
    """Return the batch as it is."""
    return batch


@hookimpl
def draw_timesteps(batch: Batch, rng: SampleRng, config: Config) -> Tensor:
    """Draw integers, uniform in [min_timestep, max_timestep)."""
    training = config[TrainingOptions]
    return rng.integers(training.min_timestep, training.max_timestep, device=batch.latents.device)


@hookimpl
def draw_noise(batch: Batch, rng: SampleRng) -> Tensor:
    """Draw standard normal noise."""
    return rng.normal(*batch.latents.shape[1:], device=batch.latents.device)


@hookimpl
def loss_weighting(prediction: Prediction, batch: NoisyBatch) -> Tensor:
    """Weigh every sample alike."""
    return prediction.target.new_ones(len(batch.timesteps))


@hookimpl
def cache_identity(part: str, config: Config) -> str:
    """Return what is known of the files that options name, and every option that is not the core's own.

    Files by size and time of change; a model of the hub by its name alone.
    """
    core = {field.name for table in CORE_OPTIONS for field in fields(table)}
    own = {name: value for name, value in config if name not in core}
    named = [config[ModelOptions].pretrained_model_name_or_path, *own.values()]
    known = [_known(value) for value in named if isinstance(value, str)]
    text = json.dumps([part, own, known], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def _known(name: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a name, and sizes and times of change of the files that it may stand for."""
    path = Path(name).expanduser()
    if not name or not os.path.exists(path):  # noqa: PTH110  # Path's own raises for a text that is too long for a name
        return name, []
    walked = (Path(place) / file for place, _, files in os.walk(path, followlinks=True) for file in files)
    found = [path] if path.is_file() else sorted(file for file in walked if file.is_file())
    stats = [file.stat() for file in found]
    return name, [(stat.st_size, stat.st_mtime_ns) for stat in stats]


@hookimpl
def field_files() -> FieldFiles | None:
    """Know of no files beside the pictures."""
    return None


@hookimpl
def file_metadata() -> Mapping[str, str]:
    """Add nothing to the file's header."""
    return {}


@hookimpl
def generate_images() -> Sequence[Image]:
    """Say that this architecture draws no pictures."""
    message = "the architecture of this run cannot draw pictures: its plugin does not answer 'generate_images'"
    raise LoracoreError(message)


@hookimpl
def weight_names() -> Mapping[str, PartNames]:
    """Say that this architecture's files cannot be rewritten."""
    message = "files of this architecture cannot be rewritten: its plugin does not answer 'weight_names'"
    raise LoracoreError(message)


@hookimpl
def demo() -> DemoKit | None:
    """Offer no demo."""
    return None
