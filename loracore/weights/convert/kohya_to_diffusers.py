"""A LoRA file with kohya's names as diffusers and PEFT read it: a pair for every layer, alpha folded into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from loracore.errors import DataError, Problem
from loracore.networks.row_order import swap_halves
from loracore.networks.spellings import ALPHA, DOWN, MAGNITUDE, UP
from loracore.types import LoraTarget
from loracore.weights.convert.kohya_keys import known_keys
from loracore.weights.convert.lora_modules import Factors, misfit, read_factors
from loracore.weights.convert.lora_names import diffusers_name, strangers
from loracore.weights.factors import diagonal_blocks, row_slices
from loracore.weights.network_file import NetworkFile, by_key
from loracore.weights.writing import Piece

#: How a layer's tensors end in this layout.
_TAILS = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector.weight")


def diffusers_pieces(
    file: NetworkFile, targets: Mapping[str, LoraTarget], folder: str, dtype: torch.dtype | None
) -> list[Piece]:
    """Return the file's modules under diffusers' names, where the denoiser's begin with ``folder``.

    Alpha is folded into up (``lora_B``), so that alpha = rank, which readers take where a file says nothing. Where half
    precision would round that, up becomes float32. Raises DataError for modules that do not fit the model.
    """
    modules = by_key(known_keys(file.shapes, targets.values()))
    check_modules(file, modules, targets)
    return [
        layer_piece(target, partial(read_factors, file, modules[key]), folder, dtype, dora=MAGNITUDE in modules[key])
        for key, target in targets.items()
        if key in modules
    ]


def check_modules(
    file: NetworkFile, modules: Mapping[str, Mapping[str, str]], targets: Mapping[str, LoraTarget]
) -> None:
    """Raise DataError for modules that have no place in the model, and for factors that do not fit theirs."""
    unknown = set(modules) - set(targets)
    if unknown:
        message, hint = strangers(unknown, targets)
        raise DataError(message, where=str(file.path), fix=hint or "give --arch and the base model of its training")
    problems = [found for key, names in modules.items() if (found := _misfit(file, names, targets[key]))]
    if problems:
        raise DataError.of(problems[:3])


def layer_piece(
    target: LoraTarget, factors: Callable[[], Factors], folder: str, dtype: torch.dtype | None, *, dora: bool
) -> Piece:
    """Return a pair for each of a target's layers, with its rows' magnitudes for DoRA."""
    layers = [diffusers_name(target, index, folder) for index in range(len(target.layers))]
    tails = _TAILS if dora else _TAILS[:2]
    names = tuple(f"{layer}.{tail}" for layer in layers for tail in tails)
    return Piece(names, partial(_made, target, factors, names, dtype))


def _misfit(file: NetworkFile, names: Mapping[str, str], target: LoraTarget) -> Problem | None:
    shapes = {kind: file.shapes[name] for kind, name in names.items()}
    if {DOWN, UP} <= set(shapes):
        return misfit(shapes, target, str(file.path))
    if not any(kind.startswith("lora_") for kind in shapes) and set(shapes) != {ALPHA}:
        return None  # another kind of network, whose own adapter checks it
    message = f"{target.key}: tensors {sorted(shapes)} where a LoRA has {sorted({ALPHA, DOWN, UP})}"
    return Problem(message, str(file.path), "give the whole file of a network")


def _made(
    target: LoraTarget, factors: Callable[[], Factors], names: tuple[str, ...], dtype: torch.dtype | None
) -> dict[str, Tensor]:
    whole = factors()
    tensors: list[Tensor] = []
    for index, (down, up) in enumerate(_pairs(target, whole.down, whole.up)):
        made = Factors(down, _folded(up, whole.scale, dtype), 1.0, _magnitude(target, index, whole.magnitude))
        made = made.cast(dtype, names[0])
        tensors += [made.down, made.up, *([] if made.magnitude is None else [made.magnitude])]
    return dict(zip(names, tensors, strict=True))


def _magnitude(target: LoraTarget, index: int, magnitude: Tensor | None) -> Tensor | None:
    """Return a layer's own magnitudes in PEFT's shape: (outputs), of a convolution (1, outputs, 1, 1)."""
    if magnitude is None:
        return None
    rows = magnitude[row_slices([len(layer.weight) for layer in target.layers])[index]]
    rows = swap_halves(rows) if target.swapped_halves else rows
    kernel = target.layers[index].weight.shape[2:]
    return rows.reshape(1, -1, *(1 for _ in kernel)) if kernel else rows


def _pairs(target: LoraTarget, down: Tensor, up: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return down and up of each layer in its own shape; true blocks are told from a factor that layers share."""
    rows = [len(layer.weight) for layer in target.layers]
    blocks = diagonal_blocks(up, rows) if len(rows) > 1 and up.any() else None
    if blocks is None:
        downs, ups = [down] * len(rows), [up[own] for own in row_slices(rows)]
    else:
        downs, ups = [down[own] for own in row_slices([block.shape[1] for block in blocks])], blocks
    if target.swapped_halves:
        ups = [swap_halves(one) for one in ups]
    weights = [layer.weight for layer in target.layers]
    return [
        (one.reshape(-1, *weight.shape[1:]), other.reshape(*other.shape[:2], *(1 for _ in weight.shape[2:])))
        for one, other, weight in zip(downs, ups, weights, strict=True)
    ]


def _folded(up: Tensor, scale: float, dtype: torch.dtype | None) -> Tensor:
    """Return up · scale, in its own dtype where nothing is lost by that."""
    if scale == 1:
        return up
    exact = up.float() * scale
    rounded = exact.to(up.dtype)
    return rounded if dtype is None and torch.equal(rounded.float(), exact) else exact
