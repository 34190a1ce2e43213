"""A toy architecture: a text table, a pooling "VAE" and one small convolution network; it trains in milliseconds.

It is a whole architecture plugin in one file, for tests of the core and as the smallest example of the hook contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from loracore import Config, Drawing, LoraTarget, Models, NoisyBatch, Part, Prediction, hookimpl, option

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from loracore import Batch, Latents, TextConditioning

LORACORE_API = 1


@dataclass(frozen=True, slots=True)
class ToyOptions:
    """The toy's only option."""

    toy_width: Annotated[int, option("channels of the toy's hidden layer", ge=1)] = 8


@hookimpl
def options() -> tuple[type, ...]:
    """Return the toy's options."""
    return (ToyOptions,)


@hookimpl
def load_models(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return freshly made parts, always the same for the same width."""
    from loracore.testing import toy_models

    return toy_models.build(parts, device, dtype, config[ToyOptions].toy_width)


@hookimpl
def encode_text(models: Models, captions: Sequence[str]) -> TextConditioning:
    """Return one vector a caption: "pooled" (B, 8)."""
    from loracore.testing import toy_models

    return toy_models.encode_text(models, captions)


@hookimpl
def encode_images(models: Models, images: Tensor) -> Latents:
    """Return pictures averaged over 8×8 pixels, with a small constant variance."""
    from loracore.testing import toy_models

    return toy_models.encode_images(models, images)


@hookimpl
def lora_targets(models: Models) -> Sequence[LoraTarget]:
    """Return the denoiser's layers and the text table's projection."""
    from loracore.testing import toy_models

    return toy_models.targets(models)


@hookimpl
def noise_latents(batch: Batch, noise: Tensor, timesteps: Tensor) -> NoisyBatch:
    """Return latents and noise mixed in a straight line (Liu et al. 2022, arXiv 2209.03003, equation 1)."""
    sigma = timesteps.float() / 1000
    mixed = sigma[:, None, None, None]
    return NoisyBatch(batch, noise, (1 - mixed) * batch.latents + mixed * noise, timesteps, sigma)


@hookimpl
def predict_noise(models: Models, batch: NoisyBatch) -> Prediction:
    """Return what the denoiser takes for the noise."""
    assert models.denoiser is not None
    pooled = batch.batch.conditioning["pooled"]
    return Prediction(models.denoiser(batch.noisy_latents, batch.sigma, pooled), batch.noise)


@hookimpl
def generate_images(
    models: Models,
    conditioning: TextConditioning,
    negative: TextConditioning,
    drawing: Drawing,
    rng: torch.Generator,
) -> Sequence[Image]:
    """Return pictures drawn by a few of Euler's steps along the straight lines."""
    from loracore.testing import toy_pictures

    return toy_pictures.generate(models, conditioning, negative, drawing, rng)


@hookimpl
def file_metadata() -> Mapping[str, str]:
    """Return the toy's name."""
    return {"ss_base_model_version": "toy"}
