"""A Kronecker product of two small factors (LoKr, Yeh et al. 2023, arXiv 2309.14859, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from loracore import Config, LoraTarget
from loracore.networks.changed_weight import ChangedWeight, WeightChange
from loracore.networks.spellings import ALPHA
from loracore_networks.kinds import TITLES
from loracore_networks.lokr.options import LokrOptions
from loracore_networks.lokr.shapes import T2, W1, W1_A, W1_B, W2, W2_A, W2_B, Shapes, designed_shapes, shapes_of_file
from loracore_networks.lora.building import run_dropouts
from loracore_networks.lora.options import lora_options
from loracore_networks.matching import file_alpha, take_over
from loracore_networks.place import Place, refuse_separate
from loracore_networks.ranks import Size, chosen_size

_TITLE = TITLES["lokr"]


class LokrChange(WeightChange):
    """w1 ⊗ w2 · alpha / rank, where each factor is whole or the product of a low-rank pair.

    With both factors whole there is no rank, and the scale is 1, whatever alpha says: all readers do so.
    """

    def __init__(self, place: Place, shapes: Shapes, alpha: float) -> None:
        super().__init__()
        self._shape = place.shape
        self.tensors = nn.ParameterDict(
            {name: nn.Parameter(torch.empty(shape, device=place.device)) for name, shape in shapes.items()}
        )
        self._rank = _rank(shapes)
        self._alpha = alpha if self._has_rank else float(self._rank)
        # LyCORIS's start: the second factor begins at zero, and so does the change.
        for tensor in self.tensors.values():
            nn.init.kaiming_uniform_(tensor, a=math.sqrt(5))
        nn.init.zeros_(self.tensors[W2 if W2 in shapes else W2_B])

    @staticmethod
    def from_file(place: Place, tensors: Mapping[str, Tensor]) -> LokrChange:
        """Return a change of a file's sizes; raises DataError when they do not fit the place."""
        shapes = shapes_of_file(place, tensors, _TITLE)
        return LokrChange(place, shapes, file_alpha(tensors, _rank(shapes)))

    def forward(self, weight: Tensor | None) -> Tensor:  # noqa: ARG002  # the weight does not matter
        """Return the change (outputs, inputs[, k, k])."""
        second = self._second()
        first = self._first().view(*self._first_shape, *(1 for _ in second.shape[2:]))
        scale = self._alpha / self._rank if self._has_rank else 1.0
        return torch.kron(first, second).reshape(self._shape) * scale

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return alpha and the factors."""
        return {ALPHA: torch.tensor(self._alpha), **self.tensors}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the factors; raises DataError when names, shapes or, where it matters, alpha differ."""
        take_over(dict(self.tensors), tensors, _TITLE, Size(self._rank, self._alpha) if self._has_rank else None)

    def shrink(self, factor: Tensor) -> None:
        """Scale the first factor."""
        self.tensors[W1 if W1 in self.tensors else W1_A].mul_(factor)

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def alpha_value(self) -> float:
        return self._alpha

    @property
    def _has_rank(self) -> bool:
        return W1_A in self.tensors or W2_A in self.tensors

    @property
    def _first_shape(self) -> tuple[int, int]:
        if W1 in self.tensors:
            return self.tensors[W1].shape[0], self.tensors[W1].shape[1]
        return self.tensors[W1_A].shape[0], self.tensors[W1_B].shape[1]

    def _first(self) -> Tensor:
        """Return the first factor, a matrix."""
        first: Tensor = (
            self.tensors[W1] if W1 in self.tensors else self.tensors[W1_A].float() @ self.tensors[W1_B].float()
        )
        return first.float()

    def _second(self) -> Tensor:
        """Return the second factor with the kernel's dimensions, or as a matrix (outputs, inputs · k · k)."""
        if W2 in self.tensors:
            whole: Tensor = self.tensors[W2].float()
            return whole
        first, second = self.tensors[W2_A].float(), self.tensors[W2_B].float()
        if T2 in self.tensors:
            return torch.einsum("ij...,io,jc->oc...", self.tensors[T2].float(), first, second).contiguous()
        product: Tensor = first @ second
        return product


def build_lokr(target: LoraTarget, config: Config) -> ChangedWeight | None:
    """Return a new LoKr in front of this target, or None without a rank for it."""
    size = chosen_size(target, config)
    if size is None:
        return None
    refuse_separate(target, _TITLE)
    place = Place.of(target)
    tucker = lora_options(config).use_tucker and place.is_large
    shapes = designed_shapes(place, size.rank, config[LokrOptions], tucker=tucker)
    return ChangedWeight(target, LokrChange(place, shapes, size.alpha), run_dropouts(config))


def _rank(shapes: Shapes) -> int:
    """Return the rank that alpha is divided by, or the smaller side of the second factor where both are whole.

    Where both factors are pairs, readers take the second's.
    """
    if W2_A in shapes:
        return shapes[W2_B][0]
    return shapes[W1_B][0] if W1_B in shapes else min(shapes[W2][:2])
