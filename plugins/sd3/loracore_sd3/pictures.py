"""Pictures → latents, and latents drawn by the trained model → pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from PIL.Image import Image

from loracore import Drawing, Models
from loracore.diffusion.drawing import Course, Guidance, draw
from loracore.diffusion.picture_sizes import floored_size
from loracore.diffusion.quiet import quiet_libraries
from loracore.noise.flow import STEPS
from loracore_sd3.options import STEP
from loracore_sd3.positions import check_size
from loracore_sd3.text import assembled

SAMPLE_STEPS = 28
GUIDANCE = 5.0
SAMPLE_SHIFT = 3.0  # towards noise, as all models of the family are sampled


def generate(models: Models, guidance: Guidance, drawing: Drawing, rng: torch.Generator) -> Sequence[Image]:
    """Return one picture for each row by diffusers' own pipeline and the family's sampler, with the file's positions.

    Its sides are floored to whole patches. Raises DataError for a size that the positions do not reach.
    """
    transformer, drawing = models.denoiser, replace(drawing, size=floored_size(drawing.size, STEP))
    assert isinstance(transformer, SD3Transformer2DModel)
    check_size(transformer, drawing.size)
    nothing = dict.fromkeys(["vae", *(one + end for one in ("text_encoder", "tokenizer") for end in ("", "_2", "_3"))])
    with quiet_libraries():
        from diffusers import StableDiffusion3Pipeline

        pipeline = StableDiffusion3Pipeline(transformer=transformer, scheduler=scheduler(drawing.shift), **nothing)
    sides = (side.to(transformer.device) for side in (guidance.conditioning, guidance.negative))
    whole = Guidance(*(assembled(side, transformer.config.joint_attention_dim) for side in sides))
    return draw(pipeline, models, whole, Course.of(drawing, SAMPLE_STEPS, GUIDANCE, "euler"), rng)


def scheduler(shift: float | None = None) -> FlowMatchEulerDiscreteScheduler:
    """Return the family's own sampler, with its own shift unless another is asked for."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=STEPS, shift=shift or SAMPLE_SHIFT)
