"""What an architecture's model is made of, and its parts, empty, from a folder, from a file, or from nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from loracore.diffusion.files.folders import LocalFolder, ModelFolder, read_config
from loracore.diffusion.files.loading import EmptyPart
from loracore.diffusion.files.weights import Weights, find_weights
from loracore.errors import DataError, Problem
from loracore.types import Part
from loracore.weights.headers import Shape
from loracore.weights.layout import Names, PartNames

Settings = Mapping[str, Any]
Shapes = Mapping[str, Shape]
EmptyParts = Mapping[str, EmptyPart]

#: Names that diffusers and transformers give to files of one part.
_LIBRARY_FILES = ("model", "diffusion_pytorch_model")


def _nothing(_module: nn.Module, _in_file: Collection[str]) -> Mapping[str, Tensor]:
    return {}


@dataclass(frozen=True, eq=False, slots=True)
class PartKind:
    """One part of an architecture's models: how it is built, and what files call its tensors."""

    name: str  # in Models and in LoRA keys: "te1"
    group: Part  # "text", "vae" or "denoiser"
    label: str  # for messages
    folder: str  # in the diffusers layout
    prefix: str  # in a single file of the original layout
    build: Callable[[Settings], nn.Module]  # without weights
    standard: Callable[[], Settings]  # the configuration of the architecture's own sizes
    #: From the part's shapes, without prefix, and those of the whole file: its configuration. Raises KeyError naming
    #: the tensor that tells a size and is missing.
    config_of: Callable[[Shapes, Shapes], Settings]
    #: From the module and the names in a file, without prefix: the table. No names at all: that of the original layout.
    names: Callable[[nn.Module, Collection[str]], Names]
    unused: tuple[str, ...] = ()  # beginnings of names that files have and the module has not
    supplied: Callable[[nn.Module, Collection[str]], Mapping[str, Tensor]] = _nothing  # what a file may leave out
    bare: tuple[str, ...] = ()  # beginnings of names in a file of this part alone; empty: there are no such files
    option: str = ""  # that names such a file
    optional: bool = False  # a model may lack it

    def prefix_in(self, names: Iterable[str]) -> str | None:
        """Return what this part's tensors begin with in a file of these names, or None when it has none."""
        listed = list(names)
        if any(name.startswith(self.prefix) for name in listed):
            return self.prefix
        return "" if self.bare and any(name.startswith(self.bare) for name in listed) else None

    def config_of_shapes(self, weights: Weights, prefix: str) -> Settings:
        """Return the configuration; raises DataError when the tensors that tell its sizes are missing."""
        try:
            return self.config_of(below(weights.shapes, prefix), weights.shapes)
        except KeyError as error:
            message = f"{self.label}: the tensor {prefix}{error.args[0]} is missing"
            fix = f"give a complete {'checkpoint' if prefix else 'file'}"
            raise DataError(message, where=str(weights.origin), fix=fix) from error


@dataclass(frozen=True, slots=True)
class Reading:
    """How weight files are looked for."""

    allow_pickle: bool = False
    half_first: bool = False  # files in half precision come before others
    mapped: bool = True  # values are memory-mapped


def wanted(kinds: Iterable[PartKind], parts: Collection[Part]) -> list[PartKind]:
    """Return the kinds that are asked for, by their group ("text") or by their own name ("te1")."""
    return [kind for kind in kinds if kind.group in parts or kind.name in parts]


def standard_parts(kinds: Iterable[PartKind]) -> EmptyParts:
    """Return the parts in the architecture's own sizes, with no weights anywhere."""
    return {kind.name: _part(kind, kind.standard(), None, "", "") for kind in kinds}


def folder_parts(kinds: Iterable[PartKind], folder: ModelFolder, reading: Reading) -> EmptyParts:
    """Return the parts of a folder in the diffusers layout; an optional one that it lacks is left out.

    Raises DataError naming every other part whose configuration is missing.
    """
    configs = {kind: read_config(folder, f"{kind.folder}/config.json") for kind in kinds}
    lacking = [kind for kind, config in configs.items() if config is None and not kind.optional]
    if lacking:
        raise DataError.of([_no_config(kind, folder) for kind in lacking])
    present = {kind: config for kind, config in configs.items() if config is not None}
    return {kind.name: _folder_part(kind, config, folder, reading) for kind, config in present.items()}


def file_parts(kinds: Iterable[PartKind], weights: Weights) -> EmptyParts:
    """Return the parts of one checkpoint; an optional one that it lacks is left out.

    Raises DataError naming every other part that it lacks. Sizes that no shape tells (attention heads, norm groups) are
    the architecture's own; a model of other sizes says them with config.json files in a folder of the checkpoint's name
    beside it: ``tiny/unet/config.json`` for ``tiny.safetensors``.
    """
    prefixes = {kind: kind.prefix_in(weights.shapes) for kind in kinds}
    lacking = [kind for kind, prefix in prefixes.items() if prefix is None and not kind.optional]
    if lacking:
        raise DataError.of([_not_in_file(kind, weights.origin) for kind in lacking])
    present = {kind: prefix for kind, prefix in prefixes.items() if prefix is not None}
    return {kind.name: _file_part(kind, weights, prefix) for kind, prefix in present.items()}


def names_in_files(kind: PartKind, part: EmptyPart) -> PartNames:
    """Return what files call the part's tensors; reading them needs a base model."""
    places = {key: place.below(kind.prefix) for key, place in kind.names(part.module, ()).items()}
    original = {place: key for key, place in reversed(places.items())}  # tied tensors are written once
    table = {key: place for key, place in places.items() if original[place] == key}
    if part.weights is not None:
        return PartNames(table, kind.folder, part.tensors)
    message = f"{kind.label}: no base model is given, only its own sizes are known"
    error = DataError(message, where="--pretrained_model_name_or_path", fix="give a checkpoint, a folder or a hub id")
    return PartNames(table, kind.folder, partial(_raise, error))


def below(shapes: Shapes, prefix: str) -> Shapes:
    """Return the shapes under a prefix, without it."""
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def _folder_part(kind: PartKind, config: Settings, folder: ModelFolder, reading: Reading) -> EmptyPart:
    found = find_weights(
        folder,
        kind.folder,
        half_first=reading.half_first,
        allow_pickle=reading.allow_pickle,
        mapped=reading.mapped,
    )
    return _part(kind, config, found, "", f"{folder.name}/{kind.folder}")


def _file_part(kind: PartKind, weights: Weights, prefix: str) -> EmptyPart:
    config = _config_beside(kind, weights.origin, bare=not prefix) or kind.config_of_shapes(weights, prefix)
    return _part(kind, config, weights, prefix, str(weights.origin))


def _part(kind: PartKind, config: Settings, weights: Weights | None, prefix: str, place: str) -> EmptyPart:
    module = kind.build(config)
    in_file = below(weights.shapes, prefix) if weights else {}
    supplied = kind.supplied(module, in_file) if weights else {}
    table = {key: at.below(prefix) for key, at in kind.names(module, in_file).items() if key not in supplied}
    return EmptyPart(kind.label, module, weights, table, prefix, kind.unused, place, supplied, config)


def _config_beside(kind: PartKind, path: Path, *, bare: bool) -> Settings | None:
    """Return the configuration in the folder of the file's name; for a library's own file, the one beside it."""
    folder = LocalFolder(path.with_suffix(""))
    found = read_config(folder, f"{kind.folder}/config.json")
    if found is None and bare:
        found = read_config(folder, "config.json")
    if found is None and bare and path.name.startswith(_LIBRARY_FILES):
        found = read_config(LocalFolder(path.parent), "config.json")
    return found


def _no_config(kind: PartKind, folder: ModelFolder) -> Problem:
    message = f"{kind.label}: {kind.folder}/config.json is missing"
    own_file = f", or its file as --{kind.option} FILE" if kind.option else ""
    return Problem(message, folder.name, f"give the whole folder of a model{own_file}")


def _not_in_file(kind: PartKind, path: Path) -> Problem:
    own_file = f"give it as --{kind.option} FILE, or " if kind.option else ""
    fix = f"{own_file}give a complete checkpoint, or a folder in the diffusers layout"
    return Problem(f"{kind.label} is not in this file", str(path), fix)


def _raise(error: DataError, *_: object) -> Any:
    raise error
