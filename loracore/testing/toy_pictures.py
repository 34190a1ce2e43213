"""Pictures of the toy architecture: its denoiser's noise taken away in a few steps, latents shown as squares."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from PIL import Image
from torch import Tensor

from loracore.testing.toy_models import CHANNELS, PIXELS
from loracore.types import Drawing, Models, TextConditioning

STEPS = 4
SCALE = 2.0


def generate(
    models: Models, conditioning: TextConditioning, negative: TextConditioning, drawing: Drawing, rng: torch.Generator
) -> Sequence[Image.Image]:
    """Return one picture for each row; it raises ValueError without a VAE, as a real architecture would fail."""
    if models.denoiser is None or models.vae is None:
        message = "the toy draws with its denoiser and its VAE"
        raise ValueError(message)
    steps = drawing.steps or STEPS
    scale = SCALE if drawing.scale is None else drawing.scale
    rows, (width, height) = len(conditioning), drawing.size
    asked, unwanted = conditioning["pooled"], negative["pooled"].expand(rows, -1)
    latents = torch.randn(rows, CHANNELS, height // PIXELS, width // PIXELS, generator=rng).to(asked.device)
    sigmas = torch.linspace(1, 0, steps + 1).tolist()
    for sigma, following in pairwise(sigmas):
        levels = torch.full((rows,), sigma, device=asked.device)
        against = models.denoiser(latents, levels, unwanted).float()
        noise = against + scale * (models.denoiser(latents, levels, asked).float() - against)
        latents = latents + (following - sigma) * (noise - latents)
    pictures = [_picture(one) for one in latents]
    for picture in pictures:
        picture.info.update(steps=steps, scale=scale, sampler="euler")
    return pictures


def _picture(latents: Tensor) -> Image.Image:
    """Return latents (3,h,w), in [-1, 1] but for overshoot, as squares of ``PIXELS`` pixels."""
    bytes_ = ((latents / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    small = Image.fromarray(bytes_.permute(1, 2, 0).cpu().numpy())
    return small.resize((small.width * PIXELS, small.height * PIXELS), Image.Resampling.NEAREST)
