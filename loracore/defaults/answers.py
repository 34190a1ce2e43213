"""The core's answers to the hooks that an architecture need not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import LoracoreError, TrainingOptions, hookimpl

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from loracore.config.config import Config
    from loracore.noise.rng import SampleRng
    from loracore.types import Batch, DemoKit, NoisyBatch, Prediction
    from loracore.weights.layout import PartNames


@hookimpl
def prepare_batch(batch: Batch) -> Batch:
    """Return the batch as it is."""
    return batch


@hookimpl
def draw_timesteps(batch: Batch, rng: SampleRng, config: Config) -> Tensor:
    """Draw integers, uniform in [min_timestep, max_timestep)."""
    training = config[TrainingOptions]
    return rng.integers(training.min_timestep, training.max_timestep).to(batch.latents.device)


@hookimpl
def draw_noise(batch: Batch, rng: SampleRng) -> Tensor:
    """Draw standard normal noise."""
    return rng.normal(*batch.latents.shape[1:]).to(batch.latents.device)


@hookimpl
def loss_weighting(prediction: Prediction, batch: NoisyBatch) -> Tensor:
    """Weigh every sample alike."""
    return prediction.target.new_ones(len(batch.timesteps))


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
