"""Is this a model of this architecture? Answered from names and shapes alone; no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loracore.diffusion.files.folders import ModelFolder
from loracore.diffusion.files.foreign import Family, header_names
from loracore.weights.headers import Shape

UNET, TE = "model.diffusion_model.", "cond_stage_model.transformer."
_SDXL, _SD2, _SD3 = "an SDXL model", "a Stable Diffusion 2 model", "a Stable Diffusion 3 model"
_OTHERS = (
    *(("conditioner.embedders.", _SDXL), (".label_emb.", _SDXL), ("StableDiffusionXL", _SDXL), ("joint_blocks.", _SD3)),
    *(("StableDiffusion3", _SD3), ("cond_stage_model.model.", _SD2), ("double_blocks.", "a FLUX model")),
)
_FIX = "give a Stable Diffusion 1 model, or one fine-tuned from it"
FAMILY = Family("Stable Diffusion 1", "unet", "StableDiffusionPipeline", _OTHERS, _FIX)


def check_file(path: Path, *, allow_pickle: bool) -> None:
    """Raise DataError when a checkpoint cannot be used; of a pickle that is allowed, only that it is there."""
    if (shapes := header_names(path, allow_pickle=allow_pickle)) is not None:
        check_names(shapes, path)


def check_names(shapes: Mapping[str, Shape], path: Path) -> None:
    """Raise DataError when a checkpoint's tensors are those of another architecture."""
    FAMILY.check_marks(shapes, path)
    if (first := shapes.get(f"{UNET}input_blocks.0.0.weight")) is None:
        raise FAMILY.unknown(shapes, path)
    linear = len(shapes.get(f"{UNET}input_blocks.1.1.proj_in.weight", ())) == 2  # noqa: PLR2004  # no convolution
    _check_unet({"in_channels": first[1], "use_linear_projection": linear}, path)


def check_folder(folder: ModelFolder) -> None:
    """Raise DataError when a folder in the diffusers layout holds another architecture, or no model at all."""
    _check_unet(FAMILY.denoiser_config(folder), folder.name)


def _check_unet(config: Mapping[str, Any], where: Path | str) -> None:
    if config.get("addition_embed_type") is not None:
        raise FAMILY.other(_SDXL, where)
    if config.get("use_linear_projection"):
        raise FAMILY.other(_SD2, where)
    if (channels := config.get("in_channels", 4)) != 4:  # noqa: PLR2004  # those of the latents
        raise FAMILY.other(f"a model whose U-Net takes {channels} channels, not 4: inpainting ones take 9", where)
