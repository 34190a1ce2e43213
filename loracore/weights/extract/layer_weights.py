"""The weights of a target's layers as the base model's files have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from loracore.errors import DataError
from loracore.networks.row_order import swap_halves
from loracore.types import LoraTarget, Models
from loracore.weights.extremes import is_finite
from loracore.weights.layout import PartNames


def weight_paths(models: Models, targets: Iterable[LoraTarget]) -> dict[str, tuple[str, ...]]:
    """Return, by target, what its layers' weights are called in their part."""
    paths = {
        id(module): f"{name}.weight"
        for part in models.modules().values()
        for name, module in part.named_modules(remove_duplicate=False)
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    return {target.key: tuple(paths[id(layer)] for layer in target.layers) for target in targets}


def read_weights(target: LoraTarget, paths: Sequence[str], names: PartNames, model: str) -> list[Tensor]:
    """Return the weight of each layer in float32.

    Raises DataError, which says in which ``model``, for a weight of another shape and for numbers that are not finite.
    """
    found = dict(names.read(list(paths), torch.device("cpu")))
    for path, layer in zip(paths, target.layers, strict=True):
        if found[path].shape != layer.weight.shape:
            message = f"{model}: {path} has shape {list(found[path].shape)}, not {list(layer.weight.shape)}"
            raise DataError(message, fix="give two models of the same kind and size")
        if not is_finite(found[path]):
            raise DataError(f"{model}: {path} is not finite", fix="give an unbroken model")
    return [found[path].float() for path in paths]


def in_file(target: LoraTarget, rows: Sequence[Tensor]) -> Tensor:
    """Return what belongs to each layer's outputs as the file has it: one below the other, halves in its order."""
    ordered = [swap_halves(one) if target.swapped_halves else one for one in rows]
    return ordered[0] if len(ordered) == 1 else torch.cat(ordered)


def file_weight(target: LoraTarget, paths: Sequence[str], names: PartNames, model: str) -> Tensor:
    """Return the weight in float32 as the file has it; raises DataError as ``read_weights`` does."""
    return in_file(target, read_weights(target, paths, names, model))
