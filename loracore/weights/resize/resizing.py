"""A LoRA file with smaller ranks: of each module's change, the largest singular values are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from loracore.errors import DataError, Problem
from loracore.networks.alphas import alpha_of
from loracore.networks.spellings import ALPHA, DOWN, MID, UP
from loracore.networks.third_factor import folded
from loracore.weights.casting import cast
from loracore.weights.convert.scales import PEFT, SETTINGS, Settings, read_settings
from loracore.weights.hashed_writing import write_hashed
from loracore.weights.inspect.inspecting import open_network
from loracore.weights.inspect.network_modules import DORA, LORA, TUCKER, Module
from loracore.weights.network_file import NetworkFile
from loracore.weights.network_header import check_modules
from loracore.weights.resize.new_ranks import NewRanks
from loracore.weights.resize.resized_header import resized_header
from loracore.weights.singular import of_product
from loracore.weights.writing import Piece

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Output:
    """The file that is written."""

    path: Path
    dtype: torch.dtype | None  # None: as in the file that is read


@dataclass(frozen=True, slots=True)
class Resized:
    """What becomes of one module."""

    module: Module
    conv: bool  # larger than 1×1
    scale: float  # alpha / rank, which stays the same
    old_rank: int
    rank: int
    norm: float  # of the whole change, scale included
    kept: float  # share of it that is kept, in [0, 1]


@dataclass(frozen=True, eq=False, slots=True)
class _Pair:
    """A module's factors in float32, a third one folded into down."""

    up: Tensor  # outputs, r[, 1, 1]
    down: Tensor  # r, inputs[, k, k]
    scale: float


@dataclass(frozen=True, eq=False, slots=True)
class _Resizing:
    """What every module of the output is made of."""

    file: NetworkFile
    settings: Settings
    ranks: NewRanks
    dtype: torch.dtype | None
    found: list[Resized]  # filled when the modules are made, each read and decomposed once


def resize(source: Path, output: Output, ranks: NewRanks) -> tuple[Resized, ...]:
    """Write a LoRA file with other ranks, a module at a time, and return what became of each.

    A module whose rank would not get smaller is left as it is; a third factor (Tucker) is folded into down. A DoRA's
    magnitudes are kept. Raises DataError, before anything is written, for files that are no LoRA or not finite.
    """
    file, modules = open_network(source)
    check_modules(file.header)
    settings = _settings(file, modules)
    bad = file.not_finite()
    if bad:
        raise DataError.of(bad)
    work = _Resizing(file, settings, ranks, output.dtype, [])
    pieces = [Piece(_names(module), partial(_made, work, module)) for module in modules]
    progress = tqdm(pieces, desc="resize", unit="module", disable=None)
    write_hashed(output.path, progress, [name for piece in pieces for name in piece.names], partial(_header, work))
    return tuple(work.found)


def _header(work: _Resizing, _: NetworkFile) -> dict[str, str]:
    linear, conv = _common(work.found, conv=False), _common(work.found, conv=True)
    return resized_header(work.file.metadata, linear, conv, work.ranks)


def _settings(file: NetworkFile, modules: Sequence[Module]) -> Settings:
    """Return what a file says of alpha beside its tensors; raises DataError for what cannot be resized."""
    others = [module for module in modules if module.kind not in {LORA, TUCKER, DORA}]
    if others:
        message = f"{len(others)} modules are no LoRA, for example '{others[0].name}' ({others[0].kind})"
        fix = "write the file as a LoRA first: loracore convert --arch NAME --network_weights FILE --save_to NEW"
        raise DataError(message, where=str(file.path), fix=fix)
    if any(module.name.startswith(f"{PEFT}.") for module in modules):
        message = "PEFT keeps this file's ranks in an adapter_config.json, which is not rewritten"
        fix = "give it kohya's names first: loracore convert --arch NAME --network_weights FILE --save_to NEW"
        raise DataError(message, where=str(file.path), fix=fix)
    if SETTINGS in file.metadata and any(module.kind == DORA for module in modules):
        message = "diffusers' settings of a DoRA are not rewritten"
        raise DataError(message, where=str(file.path), fix="resize the file that has kohya's names")
    wrong = [problem for module in modules for problem in _misfits(file, module)]
    if wrong:
        raise DataError.of(wrong[:_SHOWN])
    return read_settings(file)


def _misfits(file: NetworkFile, module: Module) -> list[Problem]:
    shapes = {tail: file.shapes[name] for tail, name in module.tensors.items()}
    up, mid, down = shapes[UP], shapes.get(MID), shapes[DOWN]
    inner = (down[:1], down[:1]) if mid is None else (mid[:1], mid[1:2])
    flat = up[2:] if mid is None else up[2:] + down[2:]
    if len(up) > 1 and len(down) > 1 and (up[1:2], down[:1]) == inner and set(flat) <= {1} and 0 not in up + down:
        return []
    message = f"{module.name}: factors {list(up)} and {list(down)} do not fit one another"
    return [Problem(message, str(file.path), "the file is damaged")]


def _pair(tensors: Mapping[str, Tensor], settings: Settings, name: str) -> _Pair:
    up, down = tensors[UP].float(), tensors[DOWN].float()
    alpha, rank = alpha_of(tensors), len(down)
    scale = settings.scale(name, rank) if alpha is None else alpha / rank
    if MID in tensors:
        down = folded(tensors[MID], down)
    return _Pair(up, down, scale)


def _common(plan: Sequence[Resized], *, conv: bool) -> tuple[int, float] | None:
    """Return the rank that most of these modules have now, with its alpha; None without any."""
    found = [(one.rank, one.scale * one.rank) for one in plan if one.conv == conv]
    return max(found, key=found.count) if found else None


# ---- tensors ---------------------------------------------------------------------------------------------------------


def _names(module: Module) -> tuple[str, ...]:
    return tuple(name for tail, name in module.tensors.items() if tail != MID)


@torch.no_grad()
def _made(work: _Resizing, module: Module) -> dict[str, Tensor]:
    tensors, dtype = _read(work.file, module), work.dtype
    pair = _pair(tensors, work.settings, module.name)
    singular = of_product(pair.up, pair.down)
    resized = _resized(module, pair, singular.values, work.ranks)
    work.found.append(resized)
    smaller = resized.rank < resized.old_rank
    up, down = singular.factors(resized.rank) if smaller else (pair.up, pair.down)
    made = {**tensors, DOWN: down}
    made.pop(MID, None)
    factor = resized.scale
    if ALPHA in tensors:
        made[ALPHA], factor = _alpha(resized, tensors[ALPHA], dtype)
    made[UP] = up if factor == 1 else up * factor
    fix = "give --save_precision float"
    # Under the file's own dtypes: what was made is float32.
    typed = {tail: cast(one, dtype or _dtype(tensors[tail]), module.tensors[tail], fix) for tail, one in made.items()}
    return {module.tensors[tail]: tensor for tail, tensor in typed.items()}


def _resized(module: Module, pair: _Pair, values: Tensor, ranks: NewRanks) -> Resized:
    """Return what becomes of a module whose unscaled change has these singular values."""
    conv = math.prod(pair.down.shape[2:]) > 1
    squares = values.double().square()
    rank, square = ranks.rank(values, conv=conv), float(squares.sum())
    kept = math.sqrt(min(float(squares[:rank].sum()) / square, 1.0)) if square else 1.0
    return Resized(module, conv, pair.scale, pair.up.shape[1], rank, math.sqrt(square) * abs(pair.scale), kept)


def _alpha(resized: Resized, old: Tensor, dtype: torch.dtype | None) -> tuple[Tensor, float]:
    """Return alpha = scale · rank, and what up is multiplied by for what half precision makes of that number."""
    exact = resized.scale * resized.rank
    rounded = torch.tensor(exact).to(dtype or _dtype(old)).reshape(old.shape)
    return rounded, exact / float(rounded.item()) if rounded.item() else 1.0


def _dtype(tensor: Tensor) -> torch.dtype:
    return tensor.dtype if tensor.is_floating_point() else torch.float32


def _read(file: NetworkFile, module: Module) -> dict[str, Tensor]:
    found = file.read(module.tensors.values())
    return {tail: found[name] for tail, name in module.tensors.items()}
