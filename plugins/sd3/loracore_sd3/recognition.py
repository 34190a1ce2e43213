"""Is this a model of this architecture? Answered from names and shapes alone; no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loracore.diffusion.files.folders import ModelFolder
from loracore.diffusion.files.foreign import Family, header_names
from loracore.weights.headers import Shape

UNET = "model.diffusion_model."
CHANNELS = 16

FAMILY = Family(
    name="Stable Diffusion 3",
    denoiser="transformer",
    pipeline="StableDiffusion3",
    others=(
        ("StableDiffusionXL", "an SDXL model; use --arch sdxl"),
        ("double_blocks.", "a FLUX model"),
        ("single_transformer_blocks.", "a FLUX model"),
        ("conditioner.embedders.", "an SDXL model; use --arch sdxl"),
        ("label_emb.", "an SDXL model; use --arch sdxl"),
        ("cond_stage_model.transformer.", "a Stable Diffusion 1 model"),
        ("cond_stage_model.model.", "a Stable Diffusion 2 model"),
        ("input_blocks.", "a Stable Diffusion 1 or 2 model"),
        ("transformer_blocks.", "a transformer with diffusers' names; give the folder of its whole model"),
    ),
    fix="give a base model of Stable Diffusion 3 or 3.5, or one fine-tuned from it",
)


def check_file(path: Path, *, allow_pickle: bool) -> None:
    """Raise DataError when a checkpoint cannot be used; of a pickle that is allowed, only that it is there."""
    shapes = header_names(path, allow_pickle=allow_pickle)
    if shapes is not None:
        check_names(shapes, path)


def check_names(shapes: Mapping[str, Shape], path: Path) -> None:
    """Raise DataError when a checkpoint's tensors are those of another architecture."""
    FAMILY.check_marks(shapes, path)
    if not any("joint_blocks." in name for name in shapes):
        raise FAMILY.unknown(shapes, path)
    patches = next((shape for name, shape in shapes.items() if name.endswith("x_embedder.proj.weight")), None)
    if patches is not None:
        check_channels(patches[1], path)


def check_folder(folder: ModelFolder) -> None:
    """Raise DataError when a folder in the diffusers layout holds another architecture, or no model at all."""
    config = FAMILY.denoiser_config(folder)
    kind = config.get("_class_name", "SD3Transformer2DModel")
    if kind != "SD3Transformer2DModel":
        raise FAMILY.other(f"a model with a {kind}", folder.name)
    check_channels(int(config.get("in_channels", CHANNELS)), folder.name)


def check_channels(channels: int, where: Path | str) -> None:
    """Raise DataError when the latents of a transformer or a VAE are those of other models."""
    if channels != CHANNELS:
        raise FAMILY.other(f"a model with {channels} latent channels, not {CHANNELS}", where)
