"""Pictures → latents, and latents drawn by the trained model → pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from PIL.Image import Image

from loracore import Models
from loracore.diffusion.drawing import Course, Guidance, draw
from loracore.diffusion.quiet import quiet_libraries
from loracore.noise.flow import STEPS
from loracore_sd3.positions import check_size
from loracore_sd3.text import assembled

SAMPLE_STEPS = 28
GUIDANCE = 5.0
SAMPLE_SHIFT = 3.0  # towards noise, as all models of the family are sampled


def generate(models: Models, guidance: Guidance, size: tuple[int, int], rng: torch.Generator) -> Sequence[Image]:
    """Return one picture for each row, ``size`` (width, height), by diffusers' own pipeline, with the file's positions.

    Raises DataError for a size that the positions do not reach.
    """
    transformer = models.denoiser
    assert isinstance(transformer, SD3Transformer2DModel)
    check_size(transformer, size)
    nothing = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "text_encoder_3"))
    nothing |= dict.fromkeys(("tokenizer", "tokenizer_2", "tokenizer_3"))
    with quiet_libraries():
        from diffusers import StableDiffusion3Pipeline

        pipeline = StableDiffusion3Pipeline(transformer=transformer, scheduler=scheduler(), **nothing)
    sides = (side.to(transformer.device) for side in (guidance.conditioning, guidance.negative))
    whole = Guidance(*(assembled(side, transformer.config.joint_attention_dim) for side in sides))
    return draw(pipeline, models, whole, Course(size, SAMPLE_STEPS, GUIDANCE), rng)


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Return the family's own sampler."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=STEPS, shift=SAMPLE_SHIFT)
