"""Stable Diffusion 1: this plugin's table of contents; each hook's work stands in the file that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from loracore import hookimpl
from loracore.diffusion.model_hooks import cache_identity, encode_images
from loracore.diffusion.options import ClipTextOptions, DdpmOptions, TokenizerOptions, VaeOptions
from loracore.diffusion.quiet import quiet_libraries
from loracore.diffusion.steps.ddpm_hooks import draw_noise, loss_weighting, noise_latents
from loracore_sd15.noise import generate_images, predict_noise
from loracore_sd15.options import Sd15Options, check_options, file_metadata
from loracore_sd15.targets import lora_targets
from loracore_sd15.text import encode_text

if TYPE_CHECKING:
    import torch

    from loracore import Config, Models, Part, PartNames

LORACORE_API = 1
#: Hooks whose answers stand whole in other files: those of every DDPM model on diffusers, then this model's own.
__all__ = ["cache_identity", "draw_noise", "encode_images", "loss_weighting", "noise_latents"]
__all__ += ["check_options", "encode_text", "file_metadata", "generate_images", "lora_targets", "predict_noise"]


@hookimpl
def options() -> tuple[type, ...]:
    """Return the tables of this architecture's options."""
    return (Sd15Options, DdpmOptions, ClipTextOptions, TokenizerOptions, VaeOptions)


@hookimpl
def check_models(parts: frozenset[Part], config: Config) -> None:
    """Raise LoracoreError for parts whose files are missing, damaged or foreign."""
    with quiet_libraries():  # the first import of diffusers and transformers
        from loracore_sd15 import models
    models.check(parts, config)


@hookimpl
def load_models(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return the parts of a checkpoint, a diffusers folder or a hub model."""
    with quiet_libraries():
        from loracore_sd15 import models
    return models.load(parts, device, dtype, config)


@hookimpl
def weight_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:
    """Return the names in the original layout and in diffusers' folders."""
    from loracore_sd15 import models

    return models.file_names(parts, config)
