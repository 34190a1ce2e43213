"""Two low-rank products, multiplied element by element (LoHa, Hyeon-Woo et al. 2021, arXiv 2108.06098)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from loracore import Config, LoraTarget
from loracore.networks.changed_weight import ChangedWeight, WeightChange
from loracore.networks.spellings import ALPHA
from loracore_networks.kinds import TITLES
from loracore_networks.lora.building import run_dropouts
from loracore_networks.lora.options import lora_options
from loracore_networks.matching import check_file, file_alpha, shape_in_file, take_over
from loracore_networks.place import Place, refuse_separate
from loracore_networks.ranks import Size, chosen_size

_TITLE = TITLES["loha"]


class LohaChange(WeightChange):
    """(w1_a · w1_b) ∘ (w2_a · w2_b) · alpha / rank, of rank up to rank².

    As a matrix, w*_a is (outputs, rank) and w*_b (rank, inputs · k · k). In Tucker form, w*_a is (rank, outputs), w*_b
    (rank, inputs), and t* (rank, rank, k, k) between them.
    """

    def __init__(self, place: Place, size: Size, *, tucker: bool) -> None:
        super().__init__()
        self._shape, self._size = place.shape, size
        shapes = _shapes(place, size.rank, tucker=tucker)
        self.tensors = nn.ParameterDict(
            {name: nn.Parameter(torch.empty(shape, device=place.device)) for name, shape in shapes.items()}
        )
        # LyCORIS's start: the second product begins at zero, and so does the change.
        for name, tensor in self.tensors.items():
            nn.init.normal_(tensor, std=1.0 if name.endswith("_b") else 0.1)
        nn.init.zeros_(self.tensors["hada_w2_a"])

    @staticmethod
    def from_file(place: Place, tensors: Mapping[str, Tensor]) -> LohaChange:
        """Return a change of a file's sizes; raises DataError when they do not fit the place."""
        tucker = "hada_t1" in tensors
        rank = shape_in_file(tensors, "hada_w1_b", 2)[0]
        shapes = _shapes(place, rank, tucker=tucker)
        check_file(tensors, shapes, _TITLE)
        return LohaChange(place, Size(rank, file_alpha(tensors, rank)), tucker=tucker)

    def forward(self, weight: Tensor | None) -> Tensor:  # noqa: ARG002  # the weight does not matter
        """Return the change (outputs, inputs[, k, k])."""
        return (self._product(1) * self._product(2)).view(self._shape) * (self._size.alpha / self._size.rank)

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return alpha and the factors."""
        return {ALPHA: torch.tensor(self._size.alpha), **self.tensors}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the factors; raises DataError when names, shapes or alpha differ."""
        take_over(dict(self.tensors), tensors, _TITLE, self._size)

    def shrink(self, factor: Tensor) -> None:
        """Scale the first factor."""
        self.tensors["hada_w1_a"].mul_(factor)

    @property
    def rank(self) -> int:
        return self._size.rank

    @property
    def alpha_value(self) -> float:
        return self._size.alpha

    def _product(self, number: int) -> Tensor:
        first, second = self.tensors[f"hada_w{number}_a"].float(), self.tensors[f"hada_w{number}_b"].float()
        core = f"hada_t{number}"
        if core not in self.tensors:
            product: Tensor = first @ second
            return product
        return torch.einsum("ij...,io,jc->oc...", self.tensors[core].float(), first, second)


def build_loha(target: LoraTarget, config: Config) -> ChangedWeight | None:
    """Return a new LoHa in front of this target, or None without a rank for it."""
    size = chosen_size(target, config)
    if size is None:
        return None
    refuse_separate(target, _TITLE)
    place = Place.of(target)
    change = LohaChange(place, size, tucker=lora_options(config).use_tucker and place.is_large)
    return ChangedWeight(target, change, run_dropouts(config))


def _shapes(place: Place, rank: int, *, tucker: bool) -> dict[str, tuple[int, ...]]:
    """Return the factors' shapes by their names in files."""
    if not tucker:
        pair = {"a": (place.outputs, rank), "b": (rank, place.columns)}
        return {f"hada_w{number}_{side}": shape for number in (1, 2) for side, shape in pair.items()}
    pair = {"a": (rank, place.outputs), "b": (rank, place.inputs)}
    factors: dict[str, tuple[int, ...]] = {f"hada_w{n}_{side}": shape for n in (1, 2) for side, shape in pair.items()}
    return {**factors, "hada_t1": (rank, rank, *place.kernel), "hada_t2": (rank, rank, *place.kernel)}
