"""SDXL's parts: two CLIP text encoders, VAE and U-Net; what they are made of and where files hold them."""

from __future__ import annotations

from functools import partial

from diffusers import UNet2DConditionModel
from torch import nn

from loracore.diffusion.files.loading import building_quietly
from loracore.diffusion.files.part_kinds import clip_kind, denoiser_kind, public, vae_kind
from loracore.diffusion.files.parts import PartKind, Settings, Shapes, below
from loracore_sdxl.configs import standard_config, unet_config
from loracore_sdxl.names import unet_names
from loracore_sdxl.recognition import TE1, TE2, UNET


def kinds() -> tuple[PartKind, ...]:
    """Return the kinds of parts in the order of ``Models``."""
    te1, te2, vae, unet = (partial(standard_config, part) for part in ("text_encoder", "text_encoder_2", "vae", "unet"))
    return (
        # CLIP-L's hidden state is taken before its projection, which some files keep
        clip_kind(("text_encoder", TE1), "text encoder 1 (CLIP-L)", te1, projecting=False, name="te1"),
        clip_kind(
            ("text_encoder_2", TE2), "text encoder 2 (OpenCLIP-G)", te2, projecting=True, open_clip=True, name="te2"
        ),
        vae_kind(vae),
        denoiser_kind(("unet", UNET), "U-Net", _build_unet, unet, _unet_config, unet_names),
    )


def _build_unet(config: Settings) -> nn.Module:
    with building_quietly():
        unet: nn.Module = UNet2DConditionModel.from_config(public(config))
    return unet


def _unet_config(shapes: Shapes, whole: Shapes) -> Settings:
    """Return the U-Net's configuration; the pooled width is text encoder 2's, SDXL's own without such an encoder."""
    encoder = below(whole, TE2)
    if "text_projection" in encoder:
        return unet_config(shapes, encoder["text_projection"][1])
    if "text_projection.weight" in encoder:
        return unet_config(shapes, encoder["text_projection.weight"][0])
    return unet_config(shapes, standard_config("text_encoder_2")["projection_dim"])
