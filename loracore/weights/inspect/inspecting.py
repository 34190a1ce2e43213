"""What a network's file holds: its modules and how strong they are, what is broken, and what its header says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from loracore.errors import DataError, Problem
from loracore.networks.alphas import alpha_of
from loracore.networks.spellings import base_model
from loracore.weights.convert.scales import Settings, read_settings
from loracore.weights.hashing import content_hash
from loracore.weights.headers import Shape
from loracore.weights.inspect.change_norms import change_norm, rank_of
from loracore.weights.inspect.network_modules import UNKNOWN, Module, natural_order, network_modules
from loracore.weights.network_file import NetworkFile, file_of
from loracore.weights.network_header import damaged, network_header

HASH = "sshs_model_hash"


@dataclass(frozen=True, slots=True)
class ModuleFigures:
    """What the tensors of one module tell."""

    name: str
    kind: str
    part: str
    block: str
    rank: int | None  # None: this kind has none
    alpha: float | None  # None: the file gives none
    scale: float  # what the change is multiplied by: alpha / rank
    norm: float | None  # of the change (Frobenius); None: only the base model's weight tells it
    finite: bool


@dataclass(frozen=True, slots=True)
class TensorFigures:
    """The numbers of one tensor; those that are not finite are counted and left out of the rest."""

    name: str
    shape: Shape
    dtype: str
    least: float
    mean: float
    most: float
    bad: int  # numbers that are NaN or infinite: the file cannot be used

    @property
    def odd(self) -> str:
        """What half precision would spoil; an empty text for nothing."""
        half, largest = torch.finfo(torch.float16), max(abs(self.least), abs(self.most))
        if largest > half.max:
            return f"huge: up to {largest:.2g}, infinite in half precision"
        return f"tiny: at most {largest:.2g}, lost in half precision" if 0 < largest < half.smallest_normal else ""


@dataclass(frozen=True, slots=True)
class BlockNorm:
    """The change of all modules of a block together."""

    part: str
    block: str
    modules: int
    norm: float
    largest: float  # of one module


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that is found in a file."""

    path: Path
    size: int  # bytes
    modules: tuple[ModuleFigures, ...]
    tensors: tuple[TensorFigures, ...]
    metadata: Mapping[str, str]
    hash_matches: bool | None  # None: the header holds none
    notes: tuple[str, ...]

    @property
    def dead(self) -> tuple[str, ...]:
        """The modules that change nothing."""
        return tuple(module.name for module in self.modules if module.norm == 0)

    def dtypes(self) -> dict[str, int]:
        """Return the number of tensors by dtype, as torch spells it."""
        return dict(Counter(tensor.dtype for tensor in self.tensors))

    def blocks(self) -> tuple[BlockNorm, ...]:
        """Return the norms by part and block, in the order of the model as far as names tell it."""
        norms: dict[tuple[str, str], list[float]] = {}
        for module in self.modules:
            if module.norm is not None and module.finite:
                norms.setdefault((module.part, module.block), []).append(module.norm)
        ordered = sorted(norms, key=lambda place: (natural_order(place[0]), natural_order(place[1])))
        return tuple(
            BlockNorm(*place, len(norms[place]), math.hypot(*norms[place]), max(norms[place])) for place in ordered
        )

    def by_part(self) -> dict[str, tuple[ModuleFigures, ...]]:
        """Return the modules of each part."""
        parts = sorted({module.part for module in self.modules}, key=natural_order)
        return {part: tuple(module for module in self.modules if module.part == part) for part in parts}


@torch.no_grad()
def inspect_file(path: Path) -> Inspection:
    """Return what a file holds, read one module at a time.

    Raises DataError for what is no whole .safetensors file of a network: a base model, a pickle, an unknown kind.
    """
    file, modules = open_network(path)
    settings, notes = _settings(file)
    figures: list[ModuleFigures] = []
    numbers: list[TensorFigures] = []
    with safe_open(path, framework="pt") as tensors:
        for module in modules:
            found = {tail: tensors.get_tensor(name) for tail, name in module.tensors.items()}
            seen = [_numbers(module.tensors[tail], tensor) for tail, tensor in found.items()]
            with _fitting(path, module, found):
                figures.append(_figures(module, found, settings, finite=not any(one.bad for one in seen)))
            numbers += seen
    said = file.metadata.get(HASH)
    matches = None if said is None else said.lower() == content_hash(path)
    return Inspection(path, path.stat().st_size, tuple(figures), tuple(numbers), file.metadata, matches, notes)


def open_network(path: Path) -> tuple[NetworkFile, list[Module]]:
    """Return a network's file and its modules, not whole ones too; raises DataError when it is none, or damaged."""
    header = network_header(path)
    problems = damaged(header)
    if problems:
        raise DataError.of(problems)
    file = file_of(header)
    modules = network_modules(file.shapes)
    if all(module.kind == UNKNOWN for module in modules):
        raise DataError.of([_stranger(file)])
    return file, modules


def _stranger(file: NetworkFile) -> Problem:
    whole = base_model(file.shapes, str(file.path))
    if whole is not None:
        return Problem(whole.message, whole.where, "give a network's file")
    message = f"the file holds no network that is known, its first tensor is '{next(iter(file.shapes))}'"
    return Problem(message, str(file.path), "give a LoRA file, or one of another network")


def _settings(file: NetworkFile) -> tuple[Settings, tuple[str, ...]]:
    """Return what header or adapter_config.json say of alpha; a note when that cannot be read."""
    try:
        return read_settings(file), ()
    except DataError as error:
        return Settings({}), (f"{error.problems[0].message}; norms are those of alpha = rank",)


@contextmanager
def _fitting(path: Path, module: Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Say which tensors of a module are meant when they cannot be multiplied with one another."""
    try:
        yield
    except (RuntimeError, KeyError, ValueError) as error:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        message = f"{module.name}: its tensors do not fit one another: {shapes}"
        raise DataError(message, where=str(path), fix="the file is damaged") from error


def _figures(module: Module, tensors: Mapping[str, Tensor], settings: Settings, *, finite: bool) -> ModuleFigures:
    rank, alpha = rank_of(tensors), alpha_of(tensors)
    scale = 1.0
    if rank:
        scale = settings.scale(module.name, rank) if alpha is None else alpha / rank
    norm = change_norm(module, tensors, scale) if finite else None
    return ModuleFigures(module.name, module.kind, module.part, module.block, rank, alpha, scale, norm, finite)


def _numbers(name: str, tensor: Tensor) -> TensorFigures:
    exact = tensor.flatten() if tensor.dtype == torch.float64 else tensor.flatten().float()
    finite = exact[exact.isfinite()]
    least, mean, most = (
        (float(finite.min()), float(finite.mean()), float(finite.max())) if len(finite) else (0.0, 0.0, 0.0)
    )
    dtype = str(tensor.dtype).removeprefix("torch.")
    return TensorFigures(name, tuple(tensor.shape), dtype, least, mean, most, len(exact) - len(finite))
