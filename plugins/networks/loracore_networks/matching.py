"""What a file's tensors must be before a change of weights takes them over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from loracore import DataError
from loracore.networks.spellings import ALPHA
from loracore_networks.kinds import CHOICES, TITLES, kind_of

_OTHER_SIZES = "give the network options of its training, or --dim_from_weights"


def check_names(tensors: Mapping[str, Tensor], needed: Collection[str], title: str) -> None:
    """Raise DataError unless these are the tensors of such a network; an alpha may be missing or there."""
    found = set(tensors) - {ALPHA}
    unknown, lacking = sorted(found - set(needed)), sorted(set(needed) - found)
    words = [f"{verb} {', '.join(names)}" for verb, names in (("unknown", unknown), ("missing", lacking)) if names]
    if words:
        kind = kind_of({name: tensor.shape for name, tensor in tensors.items()})
        other = kind is not None and TITLES[kind] != title
        fix = f"the file is a {TITLES[kind]}: give {CHOICES[kind]}" if kind and other else _OTHER_SIZES
        raise DataError(f"the tensors are not those of this {title}: {'; '.join(words)}", fix=fix)


def check_shapes(tensors: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise DataError when a tensor's shape is not the one that the layer asks for."""
    for name, shape in shapes.items():
        found = list(tensors[name].shape)
        if found != list(shape):
            raise DataError(f"{name} has shape {found}, here it is {list(shape)}", fix=_OTHER_SIZES)


def take_over(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], title: str) -> None:
    """Copy a file's tensors into an adapter's; raises DataError when names or shapes differ."""
    check_names(tensors, own, title)
    check_shapes(tensors, {name: tensor.shape for name, tensor in own.items()})
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def shape_in_file(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """Return a tensor's shape; raises DataError unless it is there, with so many dimensions, none of them empty."""
    if name not in tensors:
        raise DataError(f"{name} is missing", fix="the file is damaged or of an unknown layout")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        message = f"{name} has shape {list(shape)}, where {dimensions} dimensions are expected"
        raise DataError(message, fix="the file is damaged or of an unknown layout")
    return shape


def file_alpha(tensors: Mapping[str, Tensor], without: float) -> float:
    """Return the alpha of a file, or what it is without one; raises DataError when it is no single number."""
    if ALPHA not in tensors:
        return without
    if tensors[ALPHA].numel() != 1:
        raise DataError(f"{ALPHA} has shape {list(tensors[ALPHA].shape)}, not a single number")
    return float(tensors[ALPHA].item())
