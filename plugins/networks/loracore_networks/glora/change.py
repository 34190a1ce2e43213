"""A change that follows the weight itself, and one that does not (GLoRA, Chavan et al. 2023, arXiv 2306.07967)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from loracore import Config, LoraTarget
from loracore.networks.changed_weight import ChangedWeight, WeightChange
from loracore.networks.spellings import ALPHA
from loracore_networks.kinds import TITLES
from loracore_networks.lora.building import run_dropouts
from loracore_networks.matching import check_file, file_alpha, shape_in_file, take_over
from loracore_networks.place import Place, refuse_separate
from loracore_networks.ranks import Size, chosen_size

_TITLE = TITLES["glora"]


class GloraChange(WeightChange):
    """(W · a1 · a2 + b1 · b2) · alpha / rank, with W's inputs on a1; a kernel stands in b2.

    a1 is (inputs, rank[, 1, 1]), a2 (rank, inputs[, 1, 1]), b1 (outputs, rank[, 1, 1]) and b2 (rank, inputs[, k, k]):
    the layout of LyCORIS and ComfyUI. Files of LyCORIS before version 2 name the factors the other way round.
    """

    needs_weight = True

    def __init__(self, place: Place, size: Size) -> None:
        super().__init__()
        self._size = size
        shapes = _shapes(place, size.rank)
        self.a1, self.a2, self.b1, self.b2 = (
            nn.Parameter(torch.zeros(shape, device=place.device)) for shape in shapes.values()
        )
        nn.init.kaiming_uniform_(self.a1, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.b1, a=math.sqrt(5))

    @staticmethod
    def from_file(place: Place, tensors: Mapping[str, Tensor]) -> GloraChange:
        """Return a change of a file's sizes; raises DataError when they do not fit the place."""
        rank = shape_in_file(tensors, "a2.weight", len(place.shape))[0]
        shapes = _shapes(place, rank)
        check_file(tensors, shapes, _TITLE)
        return GloraChange(place, Size(rank, file_alpha(tensors, rank)))

    def forward(self, weight: Tensor | None) -> Tensor:
        """Return the change (outputs, inputs[, k, k]) of this weight."""
        assert weight is not None
        first, second, up, down = (each.flatten(1).float() for each in (self.a1, self.a2, self.b1, self.b2))
        followed = torch.einsum("oi...,ir,rj->oj...", weight, first, second)
        return (followed + (up @ down).view(weight.shape)) * (self._size.alpha / self._size.rank)

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return alpha and the factors."""
        return {ALPHA: torch.tensor(self._size.alpha), **self._factors()}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the factors; raises DataError when names, shapes or alpha differ."""
        take_over(self._factors(), tensors, _TITLE, self._size)

    @property
    def rank(self) -> int:
        return self._size.rank

    @property
    def alpha_value(self) -> float:
        return self._size.alpha

    def _factors(self) -> dict[str, Tensor]:
        return {"a1.weight": self.a1, "a2.weight": self.a2, "b1.weight": self.b1, "b2.weight": self.b2}


def build_glora(target: LoraTarget, config: Config) -> ChangedWeight | None:
    """Return a new GLoRA in front of this target, or None without a rank for it."""
    size = chosen_size(target, config)
    if size is None:
        return None
    refuse_separate(target, _TITLE)
    return ChangedWeight(target, GloraChange(Place.of(target), size), run_dropouts(config))


def _shapes(place: Place, rank: int) -> dict[str, tuple[int, ...]]:
    """Return the factors' shapes by their names in files."""
    ones = tuple(1 for _ in place.kernel)
    return {
        "a1.weight": (place.inputs, rank, *ones),
        "a2.weight": (rank, place.inputs, *ones),
        "b1.weight": (place.outputs, rank, *ones),
        "b2.weight": (rank, place.inputs, *place.kernel),
    }
