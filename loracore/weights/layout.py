"""Where each tensor of a model stands in a file: one table for reading, writing, merging and naming."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from loracore.networks.row_order import swap_halves
from loracore.weights.headers import Shape


@dataclass(frozen=True, slots=True)
class FileTensor:
    """The place of a model's tensor in a file, and the form that it has there."""

    name: str
    part: tuple[int, int] | None = None  # (k, n): the k-th of n equal parts of the file tensor's rows
    transposed: bool = False
    pointwise: bool = False  # a 1x1 convolution in the file (out, in, 1, 1), a matrix in the model (out, in)
    swapped_halves: bool = False  # the file holds the second half of the model's rows first

    def below(self, prefix: str) -> FileTensor:
        """Return the same place in a file whose names begin with ``prefix``."""
        return replace(self, name=prefix + self.name)

    def file_shape(self, shape: Shape) -> Shape:
        """Return the shape of the file's tensor for a model tensor of ``shape``."""
        if self.transposed:
            return shape[::-1]
        if self.part is not None:
            return (shape[0] * self.part[1], *shape[1:])
        return (*shape, 1, 1) if self.pointwise else shape

    def from_file(self, tensor: Tensor) -> Tensor:
        """Return the model's tensor of the file's."""
        if self.transposed:
            return tensor.t().contiguous()
        if self.part is not None:
            return tensor.chunk(self.part[1])[self.part[0]]
        if self.swapped_halves:
            return swap_halves(tensor)
        return tensor.flatten(1) if self.pointwise else tensor

    def to_file(self, tensor: Tensor) -> Tensor:
        """Return the file's tensor of the model's; of a fused one, the rows that are this tensor's."""
        if self.transposed:
            return tensor.t()
        if self.swapped_halves:
            return swap_halves(tensor)
        return tensor[..., None, None] if self.pointwise else tensor


Names = Mapping[str, FileTensor]


@dataclass(frozen=True, eq=False, slots=True)
class PartNames:
    """One part of the base model as files have it."""

    original: Names  # the module's tensors → a checkpoint in the original layout, the part's prefix included
    diffusers: str  # the part's folder in the diffusers layout, which also begins its LoRA keys: "text_encoder_2"
    #: Gives (name in the module, tensor) for the module's names asked for, in the file's dtype, one after the other.
    read: Callable[[Collection[str], torch.device], Iterator[tuple[str, Tensor]]]


def same_names(keys: Iterable[str]) -> Names:
    """Return the table of a file that has the model's own names."""
    return {key: FileTensor(key) for key in keys}


def to_file(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Return a model's tensors as the file holds them: the inverse of reading."""
    found: dict[str, list[tuple[int, Tensor]]] = {}
    for key, tensor in state.items():
        place = names[key]
        row = place.part[0] if place.part is not None else 0
        found.setdefault(place.name, []).append((row, place.to_file(tensor)))
    return {name: _joined(pieces) for name, pieces in found.items()}


def _joined(pieces: list[tuple[int, Tensor]]) -> Tensor:
    ordered = [tensor for _, tensor in sorted(pieces, key=lambda piece: piece[0])]
    return torch.cat(ordered).contiguous()
