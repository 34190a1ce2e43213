"""The hook that every architecture with a VAE of diffusers' answers alike; its module imports it as its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracore.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from loracore.types import Latents, Models


@hookimpl
def encode_images(models: Models, images: Tensor) -> Latents:
    """Return the VAE's latents, scaled."""
    from loracore.diffusion.drawing import vae_of
    from loracore.diffusion.vae import encode_pictures

    return encode_pictures(vae_of(models), images)
