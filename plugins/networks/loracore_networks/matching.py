"""What a file's tensors must be before a change of weights takes them over."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from loracore import DataError
from loracore.networks.alphas import alpha_of
from loracore.networks.spellings import ALPHA
from loracore_networks.kinds import CHOICES, TITLES, kind_of_tensors
from loracore_networks.ranks import Size

OTHER_SIZES = "give the network options of its training, or --dim_from_weights"
_OF_BIAS = "diff_b"
OTHER_FILE = "the file is damaged, or of another model"


def check_names(tensors: Mapping[str, Tensor], needed: Collection[str], title: str, fix: str = OTHER_SIZES) -> None:
    """Raise DataError unless these are the tensors of such a network; an alpha may be missing or there."""
    found, needed = set(tensors) - {ALPHA}, set(needed) - {ALPHA}
    unknown, lacking = sorted(found - needed), sorted(needed - found)
    words = [f"{verb} {', '.join(names)}" for verb, names in (("unknown", unknown), ("missing", lacking)) if names]
    if words:
        message = f"the tensors are not those of this {title}: {'; '.join(words)}"
        raise DataError(message, fix=_own_kind(tensors, title) or fix)


def refuse_biases(tensors: Mapping[str, Tensor]) -> None:
    """Raise DataError for a file that changes biases."""
    if _OF_BIAS in tensors:
        message = f"the file changes biases too ({_OF_BIAS}), which adapters here do not"
        raise DataError(message, fix="leave these tensors out of the file, if they may be lost")


def check_shapes(tensors: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]], fix: str = OTHER_SIZES) -> None:
    """Raise DataError when a tensor's shape is not the one that the layer asks for."""
    for name, shape in shapes.items():
        found = list(tensors[name].shape)
        if found != list(shape):
            raise DataError(f"{name} has shape {found}, here it is {list(shape)}", fix=fix)


def check_file(tensors: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]], title: str) -> None:
    """Raise DataError when a file whose own sizes count does not fit the layer: no option would change that."""
    refuse_biases(tensors)
    check_names(tensors, shapes, title, OTHER_FILE)
    check_shapes(tensors, shapes, OTHER_FILE)


def check_alpha(found: float, own: float) -> None:
    """Raise DataError when the alpha of a file is another."""
    if math.isclose(found, own, rel_tol=1e-2):  # files in half precision round it
        return
    if not found:  # as an option, 0 would mean the rank
        raise DataError(f"{ALPHA} is 0 in the file: it changes nothing", fix="start without it")
    message = f"{ALPHA} is {found:g} in the file and {own:g} in this run: its strength would change"
    option = f"set network_alpha = {found:g}, or " if found > 0 else ""
    raise DataError(message, fix=f"{option}give --dim_from_weights")


def take_over(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], title: str, size: Size | None = None) -> None:
    """Copy a file's tensors into an adapter's; raises DataError, and copies none, when names, shapes or alpha differ.

    Without a ``size`` the alpha is not looked at.
    """
    refuse_biases(tensors)
    check_names(tensors, own, title)
    check_shapes(tensors, {name: tensor.shape for name, tensor in own.items()})
    if size is not None:
        check_alpha(file_alpha(tensors, size.rank), size.alpha)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def shape_in_file(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """Return a tensor's shape; raises DataError unless it is there, with so many dimensions, none of them empty."""
    if name not in tensors:
        raise DataError(f"{name} is missing", fix=OTHER_FILE)
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        message = f"{name} has shape {list(shape)}, where {dimensions} dimensions are expected"
        raise DataError(message, fix=OTHER_FILE)
    return shape


def file_alpha(tensors: Mapping[str, Tensor], without: float) -> float:
    """Return the alpha of a file, or what it is without one; raises DataError when it is no single number."""
    alpha = alpha_of(tensors)
    return without if alpha is None else alpha


def _own_kind(tensors: Mapping[str, Tensor], title: str) -> str:
    """Return how to get a network of the file's kind; an empty text where it is this one."""
    kind = kind_of_tensors(tensors)
    if kind is None or TITLES[kind] == title:
        return ""
    return f"the file is a {TITLES[kind]}: give {CHOICES[kind]}"
