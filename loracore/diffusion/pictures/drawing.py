"""Pictures drawn by diffusers' own pipelines from what the text encoders said, with the live denoiser."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from PIL.Image import Image
from torch import Tensor

from loracore.diffusion.files.precision import compute_dtype
from loracore.diffusion.vae import decode_latents, downscaling
from loracore.errors import DataError
from loracore.types import Drawing, Models, TextConditioning


@dataclass(frozen=True, eq=False, slots=True)
class Guidance:
    """What is asked for, row by row, and the one thing that is not: "context" and, where there is one, "pooled"."""

    conditioning: TextConditioning
    negative: TextConditioning


@dataclass(frozen=True, slots=True)
class Course:
    """How a picture is drawn."""

    size: tuple[int, int]  # width, height in pixels
    steps: int
    scale: float  # of the guidance
    sampler: str  # the field's name of the pipeline's scheduler

    @classmethod
    def of(cls, drawing: Drawing, steps: int, scale: float, sampler: str) -> Course:
        """Return what is asked for, with an architecture's own steps and scale where that is left open."""
        return cls(drawing.size, drawing.steps or steps, scale if drawing.scale is None else drawing.scale, sampler)

    @property
    def info(self) -> dict[str, Any]:
        """Return what a picture says of how it was drawn."""
        return {"steps": self.steps, "scale": self.scale, "sampler": self.sampler}


def draw(pipeline: Any, models: Models, guidance: Guidance, course: Course, rng: torch.Generator) -> Sequence[Image]:
    """Return one picture for each row of the guidance.

    The pipeline, which is untyped, has the denoiser and no VAE: that may be on another device, or in another dtype. The
    first latents come from ``rng`` on the CPU, and so does the noise of samplers that add some. Raises DataError for
    latents that are not finite: they would be a black picture.
    """
    pipeline.set_progress_bar_config(disable=True)
    denoiser: Any = models.denoiser
    rows, dtype = len(guidance.conditioning), compute_dtype(denoiser)
    asked, unwanted = (_embeddings(side, denoiser.device, dtype) for side in (guidance.conditioning, guidance.negative))
    vae, (width, height) = vae_of(models), course.size
    factor = downscaling(vae)
    start = torch.randn((rows, denoiser.config.in_channels, height // factor, width // factor), generator=rng)
    with warnings.catch_warnings():  # diffusers' schedulers make arrays of tensors in a way that numpy 2 deprecates
        warnings.filterwarnings("ignore", message="__array", category=DeprecationWarning)
        latents = pipeline(
            **asked,
            **{f"negative_{name}": tensor.expand(rows, *tensor.shape[1:]) for name, tensor in unwanted.items()},
            latents=start.to(denoiser.device, dtype),
            height=height,
            width=width,
            num_inference_steps=course.steps,
            guidance_scale=course.scale,
            generator=rng,
            output_type="latent",
        ).images
    pictures = _decoded(vae, latents)
    for picture in pictures:
        picture.info.update(course.info)
    return pictures


def _decoded(vae: AutoencoderKL, latents: Tensor) -> Sequence[Image]:
    if not bool(latents.isfinite().all()):
        message = "the denoiser's answer has numbers that are not finite"
        raise DataError(message, fix="use mixed_precision bf16, or look at the loss")
    return decode_latents(vae, latents)


def vae_of(models: Models) -> AutoencoderKL:
    """Return the loaded VAE."""
    if not isinstance(models.vae, AutoencoderKL):
        message = "the VAE is not the one that load_models made"
        raise TypeError(message)
    return models.vae


def _embeddings(said: TextConditioning, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return what the text encoders said under the names that pipelines have for it."""
    names = {"prompt_embeds": "context", "pooled_prompt_embeds": "pooled"}
    return {name: said[own].to(device, dtype) for name, own in names.items() if own in said.tensors}
