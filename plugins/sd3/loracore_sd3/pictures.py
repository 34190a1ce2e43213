"""Pictures → latents, and latents drawn by the trained model → pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from PIL.Image import Image

from loracore import Drawing, Models
from loracore.diffusion.pictures.drawing import Course, Guidance, draw
from loracore.diffusion.pictures.picture_sizes import floored
from loracore.diffusion.quiet import quiet_libraries
from loracore.noise.flow import STEPS
from loracore_sd3.options import STEP
from loracore_sd3.positions import check_size
from loracore_sd3.text import assembled

SAMPLE_STEPS, GUIDANCE, SAMPLE_SHIFT = 28, 5.0, 3.0  # the shift: towards noise, as the whole family is sampled


def generate(models: Models, guidance: Guidance, drawing: Drawing, rng: torch.Generator) -> Sequence[Image]:
    """Return one picture for each row, sides floored to whole patches, by diffusers' own pipeline and sampler.

    Raises DataError for a size that the file's positions do not reach.
    """
    transformer, drawing = models.denoiser, floored(drawing, STEP)
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
