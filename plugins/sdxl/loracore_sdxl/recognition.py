"""Is this a model of this architecture? Answered from names and shapes alone; no torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from loracore.diffusion.files.folders import ModelFolder, read_config
from loracore.diffusion.files.foreign import Family, header_names
from loracore.weights.headers import Shape

UNET = "model.diffusion_model."
TE1 = "conditioner.embedders.0.transformer."
TE2 = "conditioner.embedders.1.model."
VAE = "first_stage_model."
#: A number of CLIP that nobody reads here.
LOGIT_SCALE = f"{TE2}logit_scale"

_LATENT_CHANNELS = 4
_INPAINTING_CHANNELS = 9
FAMILY = Family(
    name="SDXL",
    denoiser="unet",
    pipeline="StableDiffusionXL",
    others=(
        ("joint_blocks.", "a Stable Diffusion 3 model; use --arch sd3"),
        ("StableDiffusion3", "a Stable Diffusion 3 model; use --arch sd3"),
        ("double_blocks.", "a FLUX model"),
        ("cond_stage_model.transformer.", "a Stable Diffusion 1 model"),
        ("cond_stage_model.model.", "a Stable Diffusion 2 model"),
    ),
    fix="give an SDXL base model, or one fine-tuned from it",
)


def check_file(path: Path, *, allow_pickle: bool) -> None:
    """Raise DataError when a checkpoint cannot be used; of a pickle that is allowed, only that it is there."""
    shapes = header_names(path, allow_pickle=allow_pickle)
    if shapes is not None:
        check_names(shapes, path)


def check_names(shapes: Mapping[str, Shape], path: Path) -> None:
    """Raise DataError when a checkpoint's tensors are those of another architecture."""
    FAMILY.check_marks(shapes, path)
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    if first is not None:
        _check_input(first[1], path)
    elif not _has(shapes, f"{UNET}label_emb."):
        raise FAMILY.unknown(shapes, path)
    if "conditioner.embedders.0.model.ln_final.weight" in shapes:
        raise FAMILY.other("an SDXL refiner, which has one text encoder only", path)
    if not _has(shapes, f"{UNET}label_emb.", TE2):
        raise FAMILY.other("a Stable Diffusion 1 or 2 model", path)
    if not _has(shapes, f"{UNET}middle_block.1.", f"{UNET}middle_block.2."):
        raise FAMILY.other("a reduced SDXL model (SSD-1B and its like), whose blocks are numbered otherwise", path)


def _has(names: Iterable[str], *prefixes: str) -> bool:
    """Tell whether any name begins so: one tensor that is missing makes no other architecture."""
    return any(name.startswith(prefixes) for name in names)


def check_folder(folder: ModelFolder) -> None:
    """Raise DataError when a folder in the diffusers layout holds another architecture, or no model at all."""
    where = Path(folder.name)
    unet = FAMILY.denoiser_config(folder)
    if (read_config(folder, "model_index.json") or {}).get("text_encoder", [True])[0] is None:
        raise FAMILY.other("an SDXL refiner, which has one text encoder only", where)
    if unet.get("addition_embed_type") != "text_time":
        raise FAMILY.other("a Stable Diffusion 1 or 2 model", where)
    _check_input(int(unet.get("in_channels", _LATENT_CHANNELS)), where)
    if unet.get("mid_block_type", "UNetMidBlock2DCrossAttn") != "UNetMidBlock2DCrossAttn":
        raise FAMILY.other("a reduced SDXL model (SSD-1B and its like), whose blocks are numbered otherwise", where)


def _check_input(channels: int, where: Path) -> None:
    if channels == _INPAINTING_CHANNELS:
        raise FAMILY.other("an inpainting model, whose U-Net takes 9 channels", where)
    if channels != _LATENT_CHANNELS:
        raise FAMILY.other(f"a model whose U-Net takes {channels} channels, not {_LATENT_CHANNELS}", where)
