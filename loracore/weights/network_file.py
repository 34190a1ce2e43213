"""A trained network's file: what it holds, and its tensors one module at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from loracore.errors import Problem
from loracore.weights.extremes import is_finite
from loracore.weights.headers import Header, Shape
from loracore.weights.network_header import check_modules, network_header
from loracore.weights.plain_reading import read_plainly


@dataclass(frozen=True, eq=False, slots=True)
class NetworkFile:
    """The names and shapes of a file's tensors; values are read when they are asked for."""

    header: Header
    #: Modules by what stands before the first dot: {"lora_unet_…": {"alpha": "lora_unet_….alpha"}}, what a tensor is
    #: there → its name in the file.
    by_key: Mapping[str, Mapping[str, str]]

    @property
    def path(self) -> Path:
        return self.header.path

    @property
    def shapes(self) -> Mapping[str, Shape]:
        return self.header.shapes

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.header.metadata

    def module(self, key: str) -> dict[str, Tensor]:
        """Return a module's tensors by the names behind its key: ``{"alpha": …, "lora_down.weight": …}``."""
        names = self.by_key[key]
        found = self.read(list(names.values()))
        return {kind: found[name] for kind, name in names.items()}

    def under(self, names: Mapping[str, str]) -> NetworkFile:
        """Return the file with its modules under other names, given for each name in it."""
        return replace(self, by_key=by_key(names))

    def read(self, names: Collection[str]) -> dict[str, Tensor]:
        """Return these tensors; a header that is known already makes a call for each module cheap."""
        return dict(read_plainly(self.header, names, torch.device("cpu")))

    def not_finite(self) -> list[Problem]:
        """Return a problem when numbers of the file are NaN or infinite; reads all of it, a tensor at a time."""
        every = read_plainly(self.header, self.shapes, torch.device("cpu"))
        bad = [name for name, tensor in every if not is_finite(tensor)]
        if not bad:
            return []
        message = f"{len(bad)} tensors are not finite, for example {bad[0]}"
        return [Problem(message, str(self.path), "its training broke down: use an earlier save")]


def open_network_file(path: Path) -> NetworkFile:
    """Return a file's names and metadata.

    Raises DataError when it is no whole .safetensors file, holds nothing, or modules that are damaged.
    """
    header = network_header(path)
    check_modules(header)
    return file_of(header)


def file_of(header: Header) -> NetworkFile:
    """Return the file that a header is of, whatever is wrong with its modules."""
    return NetworkFile(header, by_key({name: name for name in header.shapes}))


def by_key(names: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return a file's modules: by key what each tensor is ("alpha", …) and its name in the file.

    ``names`` gives, for each name in the file, the one that counts.
    """
    found: dict[str, dict[str, str]] = {}
    for name, known in names.items():
        key, _, kind = known.partition(".")
        found.setdefault(key, {})[kind] = name
    return found
