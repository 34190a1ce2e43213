"""The parts of a model in the diffusers layout, empty, with their names in its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from loracore import DataError
from loracore.diffusion.folders import HubFolder, ModelFolder, read_config
from loracore.diffusion.hub import absent_model
from loracore.diffusion.loading import EmptyPart, building_quietly
from loracore.diffusion.weight_names import Names, clip_names, folder_vae_names, same_names
from loracore.diffusion.weights import find_weights
from loracore_sdxl.configs import standard_config
from loracore_sdxl.recognition import check_folder

FOLDERS: Mapping[str, str] = {"te1": "text_encoder", "te2": "text_encoder_2", "vae": "vae", "unet": "unet"}
LABELS: Mapping[str, str] = {
    "te1": "text encoder 1 (CLIP-L)",
    "te2": "text encoder 2 (OpenCLIP-G)",
    "vae": "VAE",
    "unet": "U-Net",
}
#: CLIP-L's own projection, which some files keep; this architecture takes a hidden state before it.
UNUSED: Mapping[str, frozenset[str]] = {"te1": frozenset({"text_projection.weight"})}


def build(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Return the part's module without weights."""
    public = {key: value for key, value in config.items() if not key.startswith("_") and not key.endswith("dtype")}
    module: nn.Module
    with building_quietly():
        match name:
            case "te1":
                module = CLIPTextModel(CLIPTextConfig(**public))
            case "te2":
                module = CLIPTextModelWithProjection(CLIPTextConfig(**public))
            case "vae":
                module = AutoencoderKL.from_config(public)
            case _:
                module = UNet2DConditionModel.from_config(public)
    return module


def standard_parts(wanted: Sequence[str]) -> Mapping[str, EmptyPart]:
    """Return the parts in SDXL's own sizes, with no weights anywhere."""
    modules = {name: build(name, standard_config(FOLDERS[name])) for name in wanted}
    return {name: EmptyPart(LABELS[name], module, None, {}) for name, module in modules.items()}


def empty_parts(
    wanted: Sequence[str], folder: ModelFolder, *, half_first: bool, allow_pickle: bool
) -> Mapping[str, EmptyPart]:
    """Return the parts without weights, their configurations read; raises DataError for missing or foreign ones."""
    _check_reachable(folder)
    check_folder(folder)
    search = partial(find_weights, folder, half_first=half_first, allow_pickle=allow_pickle)
    return {name: _empty_part(name, folder, search) for name in wanted}


def _empty_part(name: str, folder: ModelFolder, search: Callable[[str], Any]) -> EmptyPart:
    path = f"{FOLDERS[name]}/config.json"
    config = read_config(folder, path)
    if config is None:
        message = f"{LABELS[name]}: {path} is missing"
        raise DataError(message, where=folder.name, fix="give the whole folder of an SDXL model")
    module, weights = build(name, config), search(FOLDERS[name])
    names = _names(name, module.state_dict(), weights.shapes if weights else ())
    place, unused = f"{folder.name}/{FOLDERS[name]}", UNUSED.get(name, frozenset())
    return EmptyPart(LABELS[name], module, weights, names, unused=unused, folder=place)


def _names(name: str, keys: Iterable[str], in_file: Iterable[str]) -> Names:
    if name == "unet":
        return same_names(keys)
    return folder_vae_names(keys, in_file) if name == "vae" else clip_names(keys, in_file)


def _check_reachable(folder: ModelFolder) -> None:
    needed = "unet/config.json"
    if isinstance(folder, HubFolder) and folder.find(needed) is None:
        raise absent_model(folder.name, needed)
