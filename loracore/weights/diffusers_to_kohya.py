"""A LoRA file with the names of diffusers and PEFT as the field's other tools read it: one pair for fused layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import Tensor

from loracore.errors import DataError, Problem
from loracore.networks.spellings import ALPHA, DOWN, UP, split_name
from loracore.types import LoraTarget
from loracore.weights.casting import cast
from loracore.weights.factors import block_diagonal
from loracore.weights.layout import swap_halves
from loracore.weights.lora_names import diffusers_places, strangers
from loracore.weights.network_file import NetworkFile
from loracore.weights.scales import Settings, read_settings
from loracore.weights.writing import Piece


@dataclass(frozen=True, eq=False, slots=True)
class _Module:
    """A layer's LoRA in the file: the tensors' names there, by what they are."""

    name: str
    tensors: Mapping[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class _Pair:
    """A layer's factors, and their strength."""

    down: Tensor
    up: Tensor
    scale: float


#: The LoRA of each layer of a target, by the layer's number.
_Layers = Mapping[int, _Module]


def kohya_pieces(
    file: NetworkFile, targets: Sequence[LoraTarget], folder: str, dtype: torch.dtype | None
) -> list[Piece]:
    """Return the file's modules under kohya's names; in diffusers the denoiser's begin with ``folder``.

    Layers that the original layout keeps fused become one LoRA: of the same rank where they share their down factor,
    else of all ranks together with a block-diagonal up; layers without LoRA get zeros. Raises DataError for modules
    that do not fit the model.
    """
    settings = read_settings(file)
    grouped = _grouped(file, targets, folder)
    problems = [
        problem
        for target in targets
        for index, module in grouped.get(target.key, {}).items()
        for problem in _misfits(file, target, index, module)
    ]
    if problems:
        raise DataError.of(problems[:3])
    ordered = [target for target in targets if target.key in grouped]
    return [
        Piece(
            tuple(f"{target.key}.{kind}" for kind in (ALPHA, DOWN, UP)),
            partial(_made, file, target, grouped[target.key], settings, dtype),
        )
        for target in ordered
    ]


def _grouped(file: NetworkFile, targets: Sequence[LoraTarget], folder: str) -> dict[str, dict[int, _Module]]:
    """Return the file's modules by target and layer."""
    places, modules = diffusers_places(targets, folder), _modules(file)
    unknown = set(modules) - set(places)
    if unknown:
        message, hint = strangers(unknown, places)
        raise DataError(message, where=str(file.path), fix=hint or "give --arch and the base model of its training")
    grouped: dict[str, dict[int, _Module]] = {}
    for name, module in modules.items():
        place = places[name]
        grouped.setdefault(place.target.key, {})[place.index] = module
    return grouped


def _modules(file: NetworkFile) -> dict[str, _Module]:
    found: dict[str, dict[str, str]] = {}
    for name in file.shapes:
        split = split_name(name)
        if split is None:
            raise DataError(f"'{name}' is no tensor of a LoRA", where=str(file.path))
        found.setdefault(split[0], {})[split[1]] = name
    return {module: _Module(module, tensors) for module, tensors in found.items()}


def _misfits(file: NetworkFile, target: LoraTarget, index: int, module: _Module) -> list[Problem]:
    if set(module.tensors) - {ALPHA} != {DOWN, UP}:
        lacking = "lora_B" if DOWN in module.tensors else "lora_A"
        return [Problem(f"{module.name} has no {lacking}", str(file.path))]
    down, up = (file.shapes[module.tensors[kind]] for kind in (DOWN, UP))
    weight = target.layers[index].weight
    if torch.Size(down[1:]).numel() == weight[0].numel() and up[0] == len(weight) and up[1] == down[0]:
        return []
    message = f"{module.name}: factors {list(down)} and {list(up)} do not fit a layer of {list(weight.shape)}"
    return [Problem(message, str(file.path), "give the base model of its training")]


def _made(
    file: NetworkFile, target: LoraTarget, layers: _Layers, settings: Settings, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    pairs = {index: _pair(file, target, index, module, settings) for index, module in layers.items()}
    fused = _fused(target, pairs)
    down, up = fused.down, fused.up
    if dtype is not None:
        down, up = (cast(factor, dtype, target.key, "leave out --save_precision") for factor in (down, up))
    alpha = torch.tensor(len(down) * fused.scale, dtype=torch.float32)
    return {f"{target.key}.{ALPHA}": alpha, f"{target.key}.{DOWN}": down, f"{target.key}.{UP}": up}


def _pair(file: NetworkFile, target: LoraTarget, index: int, module: _Module, settings: Settings) -> _Pair:
    found = file.read(list(module.tensors.values()))
    tensors = {kind: found[name] for kind, name in module.tensors.items()}
    weight = target.layers[index].weight
    down = tensors[DOWN].reshape(-1, *weight.shape[1:])
    up = tensors[UP].reshape(*tensors[UP].shape[:2], *(1 for _ in weight.shape[2:]))
    alpha = tensors.get(ALPHA)
    scale = settings.scale(module.name, len(down)) if alpha is None else float(alpha.item()) / len(down)
    return _Pair(down, swap_halves(up) if target.swapped_halves else up, scale)


def _fused(target: LoraTarget, pairs: Mapping[int, _Pair]) -> _Pair:
    """Return the pair of all layers; where their strengths differ, each is folded into its own up."""
    scales = {pair.scale for pair in pairs.values()}
    if len(scales) > 1:
        pairs = {index: _Pair(pair.down, pair.up.float() * pair.scale, 1.0) for index, pair in pairs.items()}
    first = next(iter(pairs.values()))
    if len(target.layers) == 1:
        return first
    dtype = reduce(torch.promote_types, (pair.up.dtype for pair in pairs.values()))
    rows = [len(layer.weight) for layer in target.layers]
    shared = all(pair.down.dtype == first.down.dtype and torch.equal(pair.down, first.down) for pair in pairs.values())
    rank = len(first.down) if shared else 0  # of a layer without LoRA: rows of zeros
    ups = [
        pairs[at].up.to(dtype) if at in pairs else first.up.new_zeros(count, rank, *first.up.shape[2:], dtype=dtype)
        for at, count in enumerate(rows)
    ]
    if shared:
        return _Pair(first.down, torch.cat(ups), first.scale)
    return _Pair(torch.cat([pairs[at].down for at in sorted(pairs)]), block_diagonal(ups), first.scale)
