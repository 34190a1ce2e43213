"""Is this a model of this architecture? Answered from names and shapes alone; no torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loracore import DataError
from loracore.diffusion.folders import ModelFolder, read_config
from loracore.diffusion.headers import Shape, is_pickle, pickle_refused, read_header

UNET = "model.diffusion_model."
TE1 = "conditioner.embedders.0.transformer."
TE2 = "conditioner.embedders.1.model."
VAE = "first_stage_model."

_LATENT_CHANNELS = 4
_INPAINTING_CHANNELS = 9
_FIX = "give an SDXL base model, or one fine-tuned from it"

#: What tells other files apart: part of a tensor's name, and what the file then is.
_OTHERS = (
    (".lora_down.", "a LoRA, not a base model; give it as network_weights"),
    (".lora_up.", "a LoRA, not a base model; give it as network_weights"),
    (".lora_A.", "a LoRA, not a base model; give it as network_weights"),
    (".hada_w1_a", "a LoHa, not a base model; give it as network_weights"),
    (".lokr_w1", "a LoKr, not a base model; give it as network_weights"),
    ("joint_blocks.", "a Stable Diffusion 3 model; use --arch sd3"),
    ("double_blocks.", "a FLUX model"),
    ("cond_stage_model.transformer.", "a Stable Diffusion 1 model"),
    ("cond_stage_model.model.", "a Stable Diffusion 2 model"),
)


def check_file(path: Path, *, allow_pickle: bool) -> None:
    """Raise DataError when a checkpoint cannot be used; of a pickle that is allowed, only that it is there."""
    if not is_pickle(path):
        check_names(read_header(path).shapes, path)
    elif not allow_pickle:
        raise pickle_refused(path)


def check_names(shapes: Mapping[str, Shape], path: Path) -> None:
    """Raise DataError when a checkpoint's tensors are those of another architecture."""
    for mark, kind in _OTHERS:
        if any(mark in name for name in shapes):
            raise _other(kind, path)
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    if first is not None:
        _check_input(first[1], path)
    elif not _has(shapes, f"{UNET}label_emb."):
        raise _unknown(shapes, path)
    if "conditioner.embedders.0.model.ln_final.weight" in shapes:
        raise _other("an SDXL refiner, which has one text encoder only", path)
    if not _has(shapes, f"{UNET}label_emb.", TE2):
        raise _other("a Stable Diffusion 1 or 2 model", path)
    if not _has(shapes, f"{UNET}middle_block.1.", f"{UNET}middle_block.2."):
        raise _other("a reduced SDXL model (SSD-1B and its like), whose blocks are numbered otherwise", path)


def _has(names: Iterable[str], *prefixes: str) -> bool:
    """Tell whether any name begins so: one tensor that is missing makes no other architecture."""
    return any(name.startswith(prefixes) for name in names)


def marks(path: Path) -> frozenset[str]:
    """Return what a checkpoint says of its training by empty tensors: "v_pred", "ztsnr" (ComfyUI's convention)."""
    return frozenset({"v_pred", "ztsnr"} & set(() if is_pickle(path) else read_header(path).shapes))


def check_folder(folder: ModelFolder) -> None:
    """Raise DataError when a folder in the diffusers layout holds another architecture, or no model at all."""
    where = Path(folder.name)
    index = read_config(folder, "model_index.json") or {}
    pipeline = str(index.get("_class_name", ""))
    if pipeline and not pipeline.startswith("StableDiffusionXL"):
        raise _other(f"a model for {pipeline}", where)
    unet = read_config(folder, "unet/config.json")
    if unet is None:
        message = "there is no unet/config.json, so this is no SDXL model in the diffusers layout"
        raise DataError(
            message, where=folder.name, fix="give the folder that holds unet, vae, text_encoder, text_encoder_2"
        )
    if index.get("text_encoder", [True])[0] is None:
        raise _other("an SDXL refiner, which has one text encoder only", where)
    _check_unet(unet, where)


def _check_unet(unet: Mapping[str, Any], where: Path) -> None:
    if unet.get("addition_embed_type") != "text_time":
        raise _other("a Stable Diffusion 1 or 2 model", where)
    _check_input(int(unet.get("in_channels", _LATENT_CHANNELS)), where)
    if unet.get("mid_block_type", "UNetMidBlock2DCrossAttn") != "UNetMidBlock2DCrossAttn":
        raise _other("a reduced SDXL model (SSD-1B and its like), whose blocks are numbered otherwise", where)


def _check_input(channels: int, where: Path) -> None:
    if channels == _INPAINTING_CHANNELS:
        raise _other("an inpainting model, whose U-Net takes 9 channels", where)
    if channels != _LATENT_CHANNELS:
        raise _other(f"a model whose U-Net takes {channels} channels, not {_LATENT_CHANNELS}", where)


def _other(kind: str, where: Path) -> DataError:
    return DataError(f"this is {kind}", where=str(where), fix=_FIX)


def _unknown(names: Iterable[str], path: Path) -> DataError:
    shown = ", ".join(sorted(names)[:3]) or "none at all"
    return DataError(f"this is no SDXL checkpoint: its first tensors are {shown}", where=str(path), fix=_FIX)
