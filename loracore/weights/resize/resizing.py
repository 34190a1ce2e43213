"""A LoRA file with smaller ranks: of each module's change, the largest singular values are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from tqdm import tqdm

from loracore.errors import DataError, Problem
from loracore.networks.spellings import ALPHA, DOWN, UP
from loracore.weights.casting import cast
from loracore.weights.convert.scales import PEFT, SETTINGS, Settings, read_settings
from loracore.weights.hashing import content_hash, legacy_hash
from loracore.weights.inspect.change_norms import alpha_of
from loracore.weights.inspect.inspecting import open_network
from loracore.weights.inspect.network_modules import DORA, LORA, MID, TUCKER, Module
from loracore.weights.network_file import NetworkFile, open_network_file
from loracore.weights.resize.new_ranks import NewRanks
from loracore.weights.resize.resized_header import resized_header
from loracore.weights.singular import of_product, values_of_product
from loracore.weights.writing import Piece, write_pieces

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


@torch.no_grad()
def resize(source: Path, output: Output, ranks: NewRanks) -> tuple[Resized, ...]:
    """Write a LoRA file with other ranks, a module at a time, and return what became of each.

    A module whose rank would not get smaller is left as it is; a third factor (Tucker) is folded into down. A DoRA's
    magnitudes are kept. Raises DataError, before anything is written, for files that are no LoRA or not finite.
    """
    file, modules = open_network(source)
    settings = _settings(file, modules)
    bad = file.not_finite()
    if bad:
        raise DataError.of(bad)
    plan = tuple(_planned(file, module, settings, ranks) for module in tqdm(modules, desc="ranks", disable=None))
    pieces = [_piece(file, resized, output.dtype) for resized in plan]
    header = resized_header(file.metadata, _common(plan, conv=False), _common(plan, conv=True), ranks)
    _write(output.path, pieces, header)
    return plan


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
        mid = tensors[MID].float()
        down = torch.einsum("abk,bi->aik", mid.flatten(2), down.flatten(1)).reshape(len(mid), -1, *mid.shape[2:])
    return _Pair(up, down, scale)


def _planned(file: NetworkFile, module: Module, settings: Settings, ranks: NewRanks) -> Resized:
    pair = _pair(_read(file, module), settings, module.name)
    conv = math.prod(pair.down.shape[2:]) > 1
    values, old = values_of_product(pair.up, pair.down), pair.up.shape[1]
    squares = values.double().square()
    rank, square = ranks.rank(values, conv=conv), float(squares.sum())
    kept = math.sqrt(min(float(squares[:rank].sum()) / square, 1.0)) if square else 1.0
    return Resized(module, conv, pair.scale, old, rank, math.sqrt(square) * abs(pair.scale), kept)


def _common(plan: Sequence[Resized], *, conv: bool) -> tuple[int, float] | None:
    """Return the rank that most of these modules have now, with its alpha; None without any."""
    found = [(one.rank, one.scale * one.rank) for one in plan if one.conv == conv]
    return max(found, key=found.count) if found else None


# ---- tensors ---------------------------------------------------------------------------------------------------------


def _piece(file: NetworkFile, resized: Resized, dtype: torch.dtype | None) -> Piece:
    names = tuple(name for tail, name in resized.module.tensors.items() if tail != MID)
    return Piece(names, partial(_made, file, resized, dtype))


@torch.no_grad()
def _made(file: NetworkFile, resized: Resized, dtype: torch.dtype | None) -> dict[str, Tensor]:
    tensors, module = _read(file, resized.module), resized.module
    pair = _pair(tensors, Settings({}), module.name)
    up, down = pair.up, pair.down
    if resized.rank < resized.old_rank:
        up, down = of_product(up, down).factors(resized.rank)
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


def _write(path: Path, pieces: Sequence[Piece], header: Mapping[str, str]) -> None:
    """Write the tensors with the hashes that they have then, of which the header must know before it is written."""
    names = [name for piece in pieces for name in piece.names]
    with TemporaryDirectory(prefix="loracore-resize-") as folder:
        draft = Path(folder) / "draft.safetensors"
        said = {name: value for name, value in header.items() if name.startswith("ss_")}
        write_pieces(draft, tqdm(pieces, desc="resize", unit="module", disable=None), names, said)
        hashes = {"sshs_model_hash": content_hash(draft), "sshs_legacy_hash": legacy_hash(draft)}
        file = open_network_file(draft)
        copies = [Piece(piece.names, partial(file.read, piece.names)) for piece in pieces]
        write_pieces(path, copies, names, {**header, **hashes})
