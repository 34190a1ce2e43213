"""Pictures ↔ latents, scaled as the denoiser was trained."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from loracore.diffusion.quiet import quiet_libraries
from loracore.types import Latents


def encode_pictures(vae: AutoencoderKL, images: Tensor) -> Latents:
    """Return the scaled mean and log-variance (B,C,h,w), float32, of images (B,3,H,W in [-1, 1]).

    A latent is (sample - shift) * scale, so that the log-variance grows by 2 ln(scale).
    """
    spread = vae.encode(images.to(vae.device, vae.dtype)).latent_dist
    scale, shift = _scaling(vae)
    return Latents((spread.mean.float() - shift) * scale, spread.logvar.float() + 2 * log(scale))


def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Sequence[Image.Image]:
    """Return the pictures of scaled latents (B,C,h,w), one at a time to save memory.

    Decoded in float32 where the VAE says that half precision overflows (``force_upcast``).
    """
    scale, shift = _scaling(vae)
    upcast = vae.dtype == torch.float16 and vae.config.force_upcast
    with quiet_libraries():  # diffusers warns of layers to keep in float32, and names none
        decoder = vae.to(torch.float32) if upcast else vae
    try:
        unscaled = latents.to(vae.device, decoder.dtype) / scale + shift
        return [_picture(decoder.decode(one[None]).sample[0]) for one in unscaled]
    finally:
        if upcast:
            with quiet_libraries():
                vae.to(torch.float16)


def downscaling(vae: AutoencoderKL) -> int:
    """Return how many pixels make one latent, on each side."""
    factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
    return factor


def _scaling(vae: AutoencoderKL) -> tuple[float, float]:
    return float(vae.config.scaling_factor), float(vae.config.shift_factor or 0.0)


def _picture(pixels: Tensor) -> Image.Image:
    """Return the picture of pixels (3,H,W), in [-1, 1] but for overshoot."""
    bytes_ = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(bytes_.permute(1, 2, 0).cpu().numpy())
