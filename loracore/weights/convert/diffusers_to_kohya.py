"""A LoRA file with the names of diffusers and PEFT as the field's other tools read it: one pair for fused layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import torch
from torch import Tensor

from loracore.errors import DataError, Problem
from loracore.networks.alphas import alpha_of
from loracore.networks.row_order import swap_halves
from loracore.networks.spellings import ALPHA, DOWN, MAGNITUDE, UP, split_name
from loracore.types import LoraTarget
from loracore.weights.convert.lora_modules import Factors
from loracore.weights.convert.lora_names import diffusers_places, strangers
from loracore.weights.convert.scales import Settings, read_settings
from loracore.weights.factors import block_diagonal
from loracore.weights.network_file import NetworkFile
from loracore.weights.writing import Piece


@dataclass(frozen=True, eq=False, slots=True)
class _Module:
    """A layer's LoRA in the file: the tensors' names there, by what they are."""

    name: str
    tensors: Mapping[str, str]


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
    problems += [found for target in targets for found in _partly_dora(file, target, grouped.get(target.key, {}))]
    if problems:
        raise DataError.of(problems[:3])
    return [
        kohya_piece(
            target,
            partial(_read, file, target, grouped[target.key], settings),
            dtype,
            dora=any(MAGNITUDE in module.tensors for module in grouped[target.key].values()),
        )
        for target in targets
        if target.key in grouped
    ]


def kohya_piece(
    target: LoraTarget, factors: Callable[[], Factors], dtype: torch.dtype | None, *, dora: bool = False
) -> Piece:
    """Return a target's pair under its key, with the magnitudes of its rows for DoRA."""
    names = tuple(f"{target.key}.{kind}" for kind in (ALPHA, DOWN, UP, *([MAGNITUDE] if dora else [])))
    return Piece(names, partial(_made, target, factors, names, dtype))


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
    shapes = {kind: file.shapes[name] for kind, name in module.tensors.items()}
    if not {DOWN, UP} <= set(shapes):
        lacking = "lora_B" if DOWN in shapes else "lora_A"
        return [Problem(f"{module.name} has no {lacking}", str(file.path))]
    down, up, weight = shapes[DOWN], shapes[UP], target.layers[index].weight
    magnitudes = torch.Size(shapes.get(MAGNITUDE, weight.shape[:1])).numel()
    fits = torch.Size(down[1:]).numel() == weight[0].numel() and up[0] == len(weight) == magnitudes
    if fits and up[1] == down[0]:
        return []
    message = f"{module.name}: factors {list(down)} and {list(up)} do not fit a layer of {list(weight.shape)}"
    return [Problem(message, str(file.path), "give the base model of its training")]


def _partly_dora(file: NetworkFile, target: LoraTarget, layers: _Layers) -> list[Problem]:
    """Return the problem that only some layers of a fused one have magnitudes: the others' are the weight's norms."""
    count = sum(MAGNITUDE in module.tensors for module in layers.values())
    if count in {0, len(target.layers)}:
        return []
    message = f"{target.key}: only {count} of its {len(target.layers)} layers are DoRA, one of which is for all of them"
    return [Problem(message, str(file.path), "train all of them alike")]


def _made(
    target: LoraTarget, factors: Callable[[], Factors], names: tuple[str, ...], dtype: torch.dtype | None
) -> dict[str, Tensor]:
    whole = factors().cast(dtype, target.key)
    tensors = [torch.tensor(len(whole.down) * whole.scale, dtype=torch.float32), whole.down, whole.up]
    if whole.magnitude is not None:
        tensors.append(whole.magnitude.reshape(-1, *(1 for _ in target.layers[0].weight.shape[1:])))
    return dict(zip(names, tensors, strict=True))


def _read(file: NetworkFile, target: LoraTarget, layers: _Layers, settings: Settings) -> Factors:
    return _fused(target, {index: _pair(file, target, index, module, settings) for index, module in layers.items()})


def _pair(file: NetworkFile, target: LoraTarget, index: int, module: _Module, settings: Settings) -> Factors:
    found = file.read(list(module.tensors.values()))
    tensors = {kind: found[name] for kind, name in module.tensors.items()}
    weight = target.layers[index].weight
    down = tensors[DOWN].reshape(-1, *weight.shape[1:])
    up = tensors[UP].reshape(*tensors[UP].shape[:2], *(1 for _ in weight.shape[2:]))
    alpha = alpha_of(tensors)
    scale = settings.scale(module.name, len(down)) if alpha is None else alpha / len(down)
    rows = tensors[MAGNITUDE].flatten() if MAGNITUDE in tensors else None
    if target.swapped_halves:
        return Factors(down, swap_halves(up), scale, None if rows is None else swap_halves(rows))
    return Factors(down, up, scale, rows)


def _fused(target: LoraTarget, pairs: Mapping[int, Factors]) -> Factors:
    """Return the pair of all layers; where their strengths differ, each is folded into its own up."""
    scales = {pair.scale for pair in pairs.values()}
    if len(scales) > 1:
        pairs = {index: replace(pair, up=pair.up.float() * pair.scale, scale=1.0) for index, pair in pairs.items()}
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
    magnitudes = [one for at in sorted(pairs) if (one := pairs[at].magnitude) is not None]
    magnitude = torch.cat(magnitudes) if magnitudes else None
    if shared:
        return Factors(first.down, torch.cat(ups), first.scale, magnitude)
    down = torch.cat([pairs[at].down for at in sorted(pairs)])
    return Factors(down, block_diagonal(ups), first.scale, magnitude)
