"""A LoRA file with kohya's names as diffusers and PEFT read it: a pair for every layer, alpha folded into it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from loracore.errors import DataError, Problem
from loracore.networks.spellings import ALPHA, DOWN, UP
from loracore.types import LoraTarget
from loracore.weights.casting import cast
from loracore.weights.factors import diagonal_blocks, row_slices
from loracore.weights.layout import swap_halves
from loracore.weights.lora_names import diffusers_name, strangers
from loracore.weights.network_file import NetworkFile
from loracore.weights.writing import Piece


def diffusers_pieces(
    file: NetworkFile, targets: Mapping[str, LoraTarget], folder: str, dtype: torch.dtype | None
) -> list[Piece]:
    """Return the file's modules under diffusers' names, where the denoiser's begin with ``folder``.

    Alpha is folded into up (``lora_B``), so that alpha = rank, which readers take where a file says nothing. Where half
    precision would round that, up becomes float32. Raises DataError for modules that do not fit the model.
    """
    _check(file, targets)
    ordered = [target for key, target in targets.items() if key in file.by_key]
    return [_piece(file, target, folder, dtype) for target in ordered]


def _check(file: NetworkFile, targets: Mapping[str, LoraTarget]) -> None:
    unknown = set(file.by_key) - set(targets)
    if unknown:
        message, hint = strangers(unknown, targets)
        raise DataError(message, where=str(file.path), fix=hint or "give --arch and the base model of its training")
    problems = [found for key in file.by_key for found in _misfits(file, targets[key])]
    if problems:
        raise DataError.of(problems[:3])


def _misfits(file: NetworkFile, target: LoraTarget) -> list[Problem]:
    shapes = {name.removeprefix(f"{target.key}."): file.shapes[name] for name in file.by_key[target.key]}
    if set(shapes) - {ALPHA} != {DOWN, UP}:
        message = f"{target.key}: tensors {sorted(shapes)} where a LoRA has {sorted({ALPHA, DOWN, UP})}"
        return [Problem(message, str(file.path), "only plain LoRA can be converted")]
    inputs = target.layers[0].weight[0].numel()
    outputs = sum(len(layer.weight) for layer in target.layers)
    down, up = shapes[DOWN], shapes[UP]
    if torch.Size(down[1:]).numel() == inputs and up[0] == outputs and up[1] == down[0]:
        return []
    message = f"{target.key}: factors {list(down)} and {list(up)} do not fit a layer of {outputs} × {inputs}"
    return [Problem(message, str(file.path), "give the base model of its training")]


def _piece(file: NetworkFile, target: LoraTarget, folder: str, dtype: torch.dtype | None) -> Piece:
    layers = [diffusers_name(target, index, folder) for index in range(len(target.layers))]
    written = tuple(f"{layer}.{factor}.weight" for layer in layers for factor in ("lora_A", "lora_B"))
    return Piece(written, partial(_made, file, target, written, dtype))


def _made(
    file: NetworkFile, target: LoraTarget, names: tuple[str, ...], dtype: torch.dtype | None
) -> dict[str, Tensor]:
    tensors = file.module(target.key)
    rank = len(tensors[DOWN])
    scale = float(tensors[ALPHA].item()) / rank if ALPHA in tensors else 1.0
    pairs = [(down, _folded(up, scale, dtype)) for down, up in _pairs(target, tensors[DOWN], tensors[UP])]
    factors = [factor for pair in pairs for factor in pair]
    return {name: _cast(factor, dtype, name) for name, factor in zip(names, factors, strict=True)}


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


def _cast(factor: Tensor, dtype: torch.dtype | None, name: str) -> Tensor:
    return factor if dtype is None else cast(factor, dtype, name, "leave out --save_precision")
