"""Pictures → latents, and latents drawn by the trained model → pictures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from PIL.Image import Image
from torch import Tensor

from loracore import Config, Latents, Models, TextConditioning
from loracore.diffusion.options import DdpmOptions
from loracore.diffusion.quiet import quiet_libraries
from loracore.diffusion.vae import decode_latents, downscaling, encode_pictures
from loracore.noise.ddpm import FIRST_BETA, LAST_BETA, STEPS

SAMPLE_STEPS = 25
GUIDANCE = 4.0


@dataclass(frozen=True, eq=False, slots=True)
class Guidance:
    """What is asked for, row by row, and the one thing that is not."""

    conditioning: TextConditioning
    negative: TextConditioning


def encode(models: Models, images: Tensor) -> Latents:
    """Return the scaled latents of images (B,3,H,W in [-1, 1])."""
    return encode_pictures(_vae(models), images)


def generate(
    models: Models, guidance: Guidance, size: tuple[int, int], rng: torch.Generator, config: Config
) -> Sequence[Image]:
    """Return one picture for each row, ``size`` (width, height), by diffusers' own pipeline.

    The first latents come from ``rng`` on the CPU; nothing else is random.
    """
    vae, unet = _vae(models), models.denoiser
    if not isinstance(unet, UNet2DConditionModel):
        message = "the denoiser is not the one that load_models made"
        raise TypeError(message)
    rows, factor = len(guidance.conditioning), downscaling(vae)
    width, height = size
    shape = (rows, unet.config.in_channels, height // factor, width // factor)
    start = torch.randn(shape, generator=rng).to(unet.device, unet.dtype)
    asked, unwanted = (side.to(unet.device) for side in (guidance.conditioning, guidance.negative))
    with warnings.catch_warnings():  # diffusers' scheduler makes arrays of tensors in a way that numpy 2 deprecates
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        latents = _pipeline(unet, config)(
            prompt_embeds=asked["context"].to(unet.dtype),
            pooled_prompt_embeds=asked["pooled"].to(unet.dtype),
            negative_prompt_embeds=unwanted["context"].to(unet.dtype).expand(rows, -1, -1),
            negative_pooled_prompt_embeds=unwanted["pooled"].to(unet.dtype).expand(rows, -1),
            latents=start,
            height=height,
            width=width,
            num_inference_steps=SAMPLE_STEPS,
            guidance_scale=GUIDANCE,
            output_type="latent",
        ).images
    return decode_latents(vae, latents)


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
    """Return diffusers' pipeline, which is untyped, around the live U-Net.

    The VAE stays outside: it may be on another device, or in another dtype.
    """
    with quiet_libraries():
        from diffusers import StableDiffusionXLPipeline

        pipeline = StableDiffusionXLPipeline(
            vae=None,
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
            unet=unet,
            scheduler=scheduler(config),
            add_watermarker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _vae(models: Models) -> AutoencoderKL:
    if not isinstance(models.vae, AutoencoderKL):
        message = "the VAE is not the one that load_models made"
        raise TypeError(message)
    return models.vae
