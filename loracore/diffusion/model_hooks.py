"""The hooks that every architecture on diffusers answers alike; its module imports them as its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracore.diffusion.files.identity import cache_identity
from loracore.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from loracore.types import Latents, Models

__all__ = ["cache_identity", "encode_images"]


@hookimpl
def encode_images(models: Models, images: Tensor) -> Latents:
    """Return the VAE's latents, scaled."""
    from loracore.diffusion.pictures.drawing import vae_of
    from loracore.diffusion.vae import encode_pictures

    return encode_pictures(vae_of(models), images)
