"""The layers of a file's layout, and which of a model's layers each of them is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loracore.weights.layout import Names


@dataclass(frozen=True, slots=True)
class FileLayer:
    """A layer as a file has it."""

    name: str
    paths: tuple[str, ...]  # of the model's layers: several where the file keeps them fused, in the order of its rows
    swapped_halves: bool  # the file holds the second half of the model's rows first


def file_layers(names: Names) -> Mapping[str, FileLayer]:
    """Return the layers of a file by their names, from a model's table of tensors: whatever has a ``weight`` is one."""
    found: dict[str, dict[int, str]] = {}
    swapped = set()
    for key, place in names.items():
        name, is_weight, _ = place.name.partition(".weight")
        if is_weight:
            found.setdefault(name, {})[place.part[0] if place.part else 0] = key.removesuffix(".weight")
            swapped |= {name} if place.swapped_halves else set()
    return {
        name: FileLayer(name, tuple(rows[k] for k in sorted(rows)), name in swapped) for name, rows in found.items()
    }
