"""Pictures → latents, and latents drawn by the trained model → pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from PIL.Image import Image

from loracore import Config, Models
from loracore.diffusion.drawing import Course, Guidance, draw
from loracore.diffusion.options import DdpmOptions
from loracore.diffusion.quiet import quiet_libraries
from loracore.noise.ddpm import FIRST_BETA, LAST_BETA, STEPS

SAMPLE_STEPS = 25
GUIDANCE = 4.0


def generate(
    models: Models, guidance: Guidance, size: tuple[int, int], rng: torch.Generator, config: Config
) -> Sequence[Image]:
    """Return one picture for each row, ``size`` (width, height), by diffusers' own pipeline."""
    unet = models.denoiser
    if not isinstance(unet, UNet2DConditionModel):
        message = "the denoiser is not the one that load_models made"
        raise TypeError(message)
    return draw(_pipeline(unet, config), models, guidance, Course(size, SAMPLE_STEPS, GUIDANCE), rng)


def scheduler(config: Config) -> EulerDiscreteScheduler:
    """Return SDXL's own sampler for what the model predicts; without terminal SNR it starts at the very last step."""
    options = config[DdpmOptions]
    return EulerDiscreteScheduler(
        num_train_timesteps=STEPS,
        beta_start=FIRST_BETA,
        beta_end=LAST_BETA,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if options.v_parameterization else "epsilon",
        rescale_betas_zero_snr=options.zero_terminal_snr,
        timestep_spacing="trailing" if options.zero_terminal_snr else "leading",
        steps_offset=1,
    )


def _pipeline(unet: UNet2DConditionModel, config: Config) -> Any:
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
            scheduler=scheduler(config),
            add_watermarker=False,
        )
