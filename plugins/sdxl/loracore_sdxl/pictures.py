"""Pictures → latents, and latents drawn by the trained model → pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from PIL.Image import Image

from loracore import Config, Drawing, Models
from loracore.diffusion.pictures.drawing import Course, Guidance, draw
from loracore.diffusion.pictures.samplers import ddpm_scheduler
from loracore.diffusion.quiet import quiet_libraries

SAMPLE_STEPS = 25
GUIDANCE = 4.0
SAMPLER = "euler"


def generate(
    models: Models, guidance: Guidance, drawing: Drawing, rng: torch.Generator, config: Config
) -> Sequence[Image]:
    """Return one picture for each row by diffusers' own pipeline; SDXL's own sampler is Euler's."""
    unet = models.denoiser
    if not isinstance(unet, UNet2DConditionModel):
        message = "the denoiser is not the one that load_models made"
        raise TypeError(message)
    sampler = drawing.sampler or SAMPLER
    course = Course.of(drawing, SAMPLE_STEPS, GUIDANCE, sampler)
    return draw(_pipeline(unet, ddpm_scheduler(sampler, config, course.steps)), models, guidance, course, rng)


def _pipeline(unet: UNet2DConditionModel, scheduler: Any) -> Any:
    """Return diffusers' pipeline, which is untyped, around the live U-Net."""
    with quiet_libraries():
        from diffusers import StableDiffusionXLPipeline

        return StableDiffusionXLPipeline(
            vae=None,
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
            unet=unet,
            scheduler=scheduler,
            add_watermarker=False,
        )
