"""The whole weight trains, and the file holds by how much it has changed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from loracore import Config, LoraTarget
from loracore.networks.changed_weight import ChangedWeight, WeightChange
from loracore_networks.kinds import TITLES
from loracore_networks.lora.building import run_dropouts
from loracore_networks.matching import check_file, take_over
from loracore_networks.place import Place, refuse_separate
from loracore_networks.ranks import chosen_size

_TITLE = TITLES["full"]
_DIFFERENCE, _OF_BIAS = "diff", "diff_b"


class FullChange(WeightChange):
    """A difference of the weight's own shape; biases stay as they are."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.difference = nn.Parameter(torch.zeros(place.shape, device=place.device))

    @staticmethod
    def from_file(place: Place, tensors: Mapping[str, Tensor]) -> FullChange:
        """Return a change of this place's shape; raises DataError when the file's is another."""
        check_file(tensors, {_DIFFERENCE: place.shape}, _TITLE)
        return FullChange(place)

    def forward(self, weight: Tensor | None) -> Tensor:  # noqa: ARG002  # the difference is trained, not the weight
        """Return the change (outputs, inputs[, k, k])."""
        return self.difference.float()

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the difference."""
        return {_DIFFERENCE: self.difference}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the difference; raises DataError when the file has another shape, or a bias's."""
        take_over({_DIFFERENCE: self.difference}, tensors, _TITLE)

    def shrink(self, factor: Tensor) -> None:
        """Scale the difference."""
        self.difference.mul_(factor)

    @property
    def rank(self) -> int:
        return min(len(self.difference), self.difference[0].numel())

    @property
    def alpha_value(self) -> float:
        return float(self.rank)


def build_full(target: LoraTarget, config: Config) -> ChangedWeight | None:
    """Return a difference in front of this target, or None when the options leave it out."""
    if chosen_size(target, config) is None:
        return None
    refuse_separate(target, _TITLE)
    return ChangedWeight(target, FullChange(Place.of(target)), run_dropouts(config))
