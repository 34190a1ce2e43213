"""Stable Diffusion XL: this plugin's table of contents; each hook's work stands in the file that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import hookimpl
from loracore.diffusion.model_hooks import cache_identity, encode_images
from loracore.diffusion.options import ClipTextOptions, DdpmOptions, TokenizerOptions, VaeOptions
from loracore.diffusion.quiet import quiet_libraries
from loracore.diffusion.steps.ddpm_hooks import draw_noise, loss_weighting, noise_latents
from loracore_sdxl.npz_layout import field_files
from loracore_sdxl.options import SdxlOptions, findings

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from loracore import (
        Config,
        DemoKit,
        Drawing,
        Finding,
        LoraTarget,
        Models,
        NoisyBatch,
        Part,
        PartNames,
        Prediction,
        TextConditioning,
    )

LORACORE_API = 1
#: Hooks whose answers stand whole in other files, most of them for many architectures.
__all__ = ["cache_identity", "draw_noise", "encode_images", "field_files", "loss_weighting", "noise_latents"]


@hookimpl
def options() -> tuple[type, ...]:
    """Return the tables of this architecture's options."""
    return (SdxlOptions, DdpmOptions, ClipTextOptions, TokenizerOptions, VaeOptions)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return what is wrong, unsupported or without effect, the model file's header included."""
    return tuple(findings(config))


@hookimpl
def check_models(parts: frozenset[Part], config: Config) -> None:
    """Raise LoracoreError for parts whose files are missing, damaged or foreign."""
    with quiet_libraries():  # the first import of diffusers and transformers
        from loracore_sdxl import models
    models.check(parts, config)


@hookimpl
def load_models(parts: frozenset[Part], device: torch.device, dtype: torch.dtype, config: Config) -> Models:
    """Return the parts of a checkpoint, a diffusers folder or a hub model."""
    with quiet_libraries():  # the first import of diffusers and transformers
        from loracore_sdxl import models
    return models.load(parts, device, dtype, config)


@hookimpl
def encode_text(models: Models, captions: Sequence[str], config: Config) -> TextConditioning:
    """Return both encoders' hidden states side by side, and the pooled state of the second."""
    from loracore_sdxl import text

    return text.encode(models, captions, config)


@hookimpl
def lora_targets(models: Models, config: Config) -> Sequence[LoraTarget]:
    """Return the targets in the order and with the keys of the field's files."""
    from loracore_sdxl import targets

    return targets.every(models, config)


@hookimpl
def weight_names(parts: frozenset[Part], config: Config) -> Mapping[str, PartNames]:
    """Return the names in the original layout and in diffusers' folders."""
    from loracore_sdxl import models

    return models.file_names(parts, config)


@hookimpl
def predict_noise(models: Models, batch: NoisyBatch, config: Config) -> Prediction:
    """Return the U-Net's output beside the noise or the velocity."""
    from loracore_sdxl import noise

    return noise.predict(models, batch, config)


@hookimpl
def generate_images(
    models: Models,
    conditioning: TextConditioning,
    negative: TextConditioning,
    drawing: Drawing,
    rng: torch.Generator,
    config: Config,
) -> Sequence[Image]:
    """Return pictures drawn by diffusers' own pipeline."""
    from loracore.diffusion.pictures.drawing import Guidance
    from loracore_sdxl import pictures

    return pictures.generate(models, Guidance(conditioning, negative), drawing, rng, config)


@hookimpl
def file_metadata(config: Config) -> Mapping[str, str]:
    """Return what tells the field's tools which base model the file is for."""
    from loracore_sdxl import metadata

    return metadata.of(config)


@hookimpl
def demo() -> DemoKit:
    """Return a tiny model that learns to draw a striped fish."""
    from loracore_sdxl.demo_kit import kit  # a module named demo would hide this hook

    return kit()
