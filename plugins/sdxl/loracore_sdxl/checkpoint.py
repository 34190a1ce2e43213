"""The parts of one checkpoint in the original layout, empty, with their names in it.

Sizes come from the shapes of its tensors. What no shape tells (attention heads, norm groups) is SDXL's own; a model of
other sizes says it with config.json files in a folder of the checkpoint's name beside it: ``tiny/unet/config.json`` for
``tiny.safetensors``. Tokenizers may stand there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loracore import DataError, Problem
from loracore.diffusion.config_shapes import HUGGING_FACE, OPEN_CLIP, clip_config, vae_config
from loracore.diffusion.folders import LocalFolder, read_config
from loracore.diffusion.headers import Shape
from loracore.diffusion.loading import EmptyPart
from loracore.diffusion.weight_names import Names, clip_names, open_clip_names, vae_names
from loracore.diffusion.weights import Weights
from loracore_sdxl.configs import standard_config, unet_config
from loracore_sdxl.folder import FOLDERS, LABELS, UNUSED, build
from loracore_sdxl.names import unet_names
from loracore_sdxl.recognition import TE1, TE2, UNET, VAE, check_names

_PREFIXES: Mapping[str, str] = {"te1": TE1, "te2": TE2, "vae": VAE, "unet": UNET}


def empty_parts(wanted: Sequence[str], weights: Weights) -> Mapping[str, EmptyPart]:
    """Return the parts without weights; raises DataError for a foreign file, and for parts that it lacks."""
    check_names(weights.shapes, weights.origin)
    _check_complete(wanted, weights)
    return {name: _empty_part(name, weights) for name in wanted}


def _check_complete(wanted: Sequence[str], weights: Weights) -> None:
    present = {name for name, prefix in _PREFIXES.items() if any(key.startswith(prefix) for key in weights.shapes)}
    lacking = [name for name in wanted if name not in present]
    if lacking:
        fix = "give a complete checkpoint, or a folder in the diffusers layout"
        where = str(weights.origin)
        raise DataError.of([Problem(f"{LABELS[name]} is not in this file", where, fix) for name in lacking])


def _empty_part(name: str, weights: Weights) -> EmptyPart:
    prefix = _PREFIXES[name]
    shapes = _below(weights, prefix)
    beside = LocalFolder(weights.origin.with_suffix(""))
    config = read_config(beside, f"{FOLDERS[name]}/config.json") or config_of_shapes(name, weights)
    module = build(name, config)
    names = {key: place.below(prefix) for key, place in _names(name, module, shapes).items()}
    return EmptyPart(LABELS[name], module, weights, names, prefix, UNUSED.get(name, frozenset()))


def config_of_shapes(name: str, weights: Weights) -> dict[str, Any]:
    """Return the part's configuration; raises DataError when the tensors that tell its sizes are missing."""
    shapes, label = _below(weights, _PREFIXES[name]), LABELS[name]
    standard = standard_config(FOLDERS[name])
    try:
        match name:
            case "te1":
                return clip_config(shapes, HUGGING_FACE, standard, label)
            case "te2":
                return clip_config(shapes, OPEN_CLIP, standard, label)
            case "vae":
                return vae_config(shapes, standard)
            case _:
                return unet_config(shapes, _pooled_width(weights))
    except KeyError as error:
        message = f"{label}: the tensor {_PREFIXES[name]}{error.args[0]} is missing"
        raise DataError(message, where=str(weights.origin), fix="give a complete checkpoint") from error


def _pooled_width(weights: Weights) -> int:
    """Return the width of text encoder 2's projection, SDXL's own where the file has no such encoder."""
    shapes = _below(weights, TE2)
    if "text_projection" in shapes:
        return shapes["text_projection"][1]
    if "text_projection.weight" in shapes:
        return shapes["text_projection.weight"][0]
    width: int = standard_config(FOLDERS["te2"])["projection_dim"]
    return width


def _names(name: str, module: Any, shapes: Mapping[str, Shape]) -> Names:
    if name == "unet":
        return unet_names(module)
    keys = module.state_dict()
    if name == "vae":
        return vae_names(keys)
    return clip_names(keys, shapes) if name == "te1" else open_clip_names(keys, shapes)


def _below(weights: Weights, prefix: str) -> dict[str, Shape]:
    return {name.removeprefix(prefix): shape for name, shape in weights.shapes.items() if name.startswith(prefix)}
