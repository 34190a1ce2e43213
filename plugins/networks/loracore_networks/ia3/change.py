"""One factor for each output or input of a layer (IA3, Liu et al. 2022, arXiv 2205.05638)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from loracore import Config, DataError, LoraTarget
from loracore.networks.changed_weight import ChangedWeight, WeightChange
from loracore_networks.kinds import TITLES
from loracore_networks.lora.building import run_dropouts
from loracore_networks.matching import OTHER_FILE, check_names, check_shapes, take_over
from loracore_networks.place import Place, refuse_separate
from loracore_networks.ranks import chosen_size

_TITLE = TITLES["ia3"]
_WEIGHT, _ON_INPUT = "weight", "on_input"


class Ia3Change(WeightChange):
    """W · factor, for each row of the weight or, ``on_input``, for each of its inputs; factors begin at 0.

    In files, factors are (n) or, of convolutions, (1, n, 1, 1), and ``on_input`` is 0 or 1.
    """

    needs_weight = True

    def __init__(self, place: Place, *, on_input: bool) -> None:
        super().__init__()
        self._on_input = on_input
        self.factors = nn.Parameter(torch.zeros(_shape(place, on_input=on_input), device=place.device))

    @staticmethod
    def from_file(place: Place, tensors: Mapping[str, Tensor]) -> Ia3Change:
        """Return a change on the file's side; raises DataError when it does not fit the place."""
        check_names(tensors, {_WEIGHT, _ON_INPUT}, _TITLE, OTHER_FILE)
        on_input = _side(tensors)
        check_shapes(tensors, {_WEIGHT: _shape(place, on_input=on_input)}, OTHER_FILE)
        return Ia3Change(place, on_input=on_input)

    def forward(self, weight: Tensor | None) -> Tensor:
        """Return the change (outputs, inputs[, k, k]) of this weight."""
        assert weight is not None
        factors = self.factors.float().flatten()
        own = (1, -1) if self._on_input else (-1, 1)
        return weight * factors.view(*own, *(1 for _ in weight.shape[2:]))

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the factors and their side."""
        return {_WEIGHT: self.factors, _ON_INPUT: torch.tensor(int(self._on_input))}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the factors; raises DataError when names, shapes or the side differ."""
        check_names(tensors, {_WEIGHT, _ON_INPUT}, _TITLE)
        if _side(tensors) != self._on_input:
            raise DataError("the file's factors are of the layer's other side", fix="give --dim_from_weights")
        take_over({_WEIGHT: self.factors}, {_WEIGHT: tensors[_WEIGHT]}, _TITLE)

    @property
    def rank(self) -> int:
        return 1

    @property
    def alpha_value(self) -> float:
        return 1.0


def build_ia3(target: LoraTarget, config: Config) -> ChangedWeight | None:
    """Return new factors in front of this target's outputs, or None when the options leave it out."""
    if chosen_size(target, config) is None:
        return None
    refuse_separate(target, _TITLE)
    return ChangedWeight(target, Ia3Change(Place.of(target), on_input=False), run_dropouts(config))


def _shape(place: Place, *, on_input: bool) -> tuple[int, ...]:
    number = place.inputs if on_input else place.outputs
    return (1, number, *(1 for _ in place.kernel)) if place.kernel else (number,)


def _side(tensors: Mapping[str, Tensor]) -> bool:
    if tensors[_ON_INPUT].numel() != 1:
        raise DataError(f"{_ON_INPUT} has shape {list(tensors[_ON_INPUT].shape)}, not a single number")
    return bool(tensors[_ON_INPUT].item())
