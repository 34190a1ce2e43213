"""A trained network's file: what it holds, and its tensors one module at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from loracore.errors import DataError, Problem
from loracore.weights.headers import Shape, read_header


@dataclass(frozen=True, eq=False, slots=True)
class NetworkFile:
    """The names and shapes of a file's tensors; values are read when they are asked for."""

    path: Path
    shapes: Mapping[str, Shape]
    #: Modules by what stands before the first dot: {"lora_unet_…": {"alpha": "lora_unet_….alpha"}}, what a tensor is
    #: there → its name in the file.
    by_key: Mapping[str, Mapping[str, str]]
    metadata: Mapping[str, str]

    def module(self, key: str) -> dict[str, Tensor]:
        """Return a module's tensors by the names behind its key: ``{"alpha": …, "lora_down.weight": …}``."""
        names = self.by_key[key]
        found = self.read(list(names.values()))
        return {kind: found[name] for kind, name in names.items()}

    def under(self, names: Mapping[str, str]) -> NetworkFile:
        """Return the file with its modules under other names, given for each name in it."""
        return replace(self, by_key=by_key(names))

    def read(self, names: Collection[str]) -> dict[str, Tensor]:
        """Return these tensors."""
        with safe_open(self.path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names}

    def not_finite(self) -> list[Problem]:
        """Return a problem when numbers of the file are NaN or infinite; reads all of it, a tensor at a time."""
        with safe_open(self.path, framework="pt") as file:
            bad = [name for name in self.shapes if not _is_finite(file.get_tensor(name))]
        if not bad:
            return []
        message = f"{len(bad)} tensors are not finite, for example {bad[0]}"
        return [Problem(message, str(self.path), "its training broke down: use an earlier save")]


def open_network_file(path: Path) -> NetworkFile:
    """Return a file's names and metadata; raises DataError when it is no whole .safetensors file or holds nothing."""
    header = read_header(path)
    if not header.shapes:
        raise DataError("the file holds no tensors", where=str(path))
    return NetworkFile(path, header.shapes, by_key({name: name for name in header.shapes}), header.metadata)


def by_key(names: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return a file's modules: by key what each tensor is ("alpha", …) and its name in the file.

    ``names`` gives, for each name in the file, the one that counts.
    """
    found: dict[str, dict[str, str]] = {}
    for name, known in names.items():
        key, _, kind = known.partition(".")
        found.setdefault(key, {})[kind] = name
    return found


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.float().isfinite().all())
