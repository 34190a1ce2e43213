"""The U-Net at work: what it predicts in a step, and the pictures that it draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loracore import Config, Drawing, Models, NoisyBatch, Prediction, hookimpl
from loracore import TextConditioning as Said
from loracore.diffusion.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


@hookimpl
def predict_noise(models: Models, batch: NoisyBatch, config: Config) -> Prediction:
    """Return the U-Net's output, and the noise or, with v_parameterization, the velocity that it should have said."""
    from loracore.diffusion.files.precision import compute_dtype
    from loracore.diffusion.steps.ddpm_steps import target

    unet: Any = models.denoiser
    dtype = compute_dtype(unet)
    latents, context = (part.to(dtype) for part in (batch.noisy_latents, batch.batch.conditioning["context"]))
    output = unet(latents, batch.timesteps, context, return_dict=False)[0]
    return Prediction(output.float(), target(batch, config))


@hookimpl
def generate_images(
    models: Models, conditioning: Said, negative: Said, drawing: Drawing, rng: torch.Generator, config: Config
) -> Sequence[Image]:
    """Return one picture for each row by diffusers' own pipeline around the live U-Net."""
    with quiet_libraries():
        from diffusers import StableDiffusionPipeline

        from loracore.diffusion.pictures.drawing import Course, Guidance, draw
        from loracore.diffusion.pictures.samplers import ddpm_scheduler

        course = Course.of(drawing, steps=30, scale=7.5, sampler=drawing.sampler or "ddim")
        absent = dict.fromkeys(("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
        parts = {"unet": models.denoiser, "scheduler": ddpm_scheduler(course.sampler, config, course.steps)}
        pipeline = StableDiffusionPipeline(**absent, **parts, requires_safety_checker=False)
    return draw(pipeline, models, Guidance(conditioning, negative), course, rng)
