"""Adapters of networks that say by how much a weight changes: whatever the formula, layers are adapted in one way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore.networks.adapter import Adapter
from loracore.networks.masks import Dropouts, Masks
from loracore.networks.norms import limiting_factor
from loracore.networks.row_order import swap_halves
from loracore.noise.rng import SampleRng
from loracore.types import LoraTarget


class WeightChange(nn.Module, ABC):
    """A formula's trainable tensors, and the change of a weight that they make.

    The weight is the file's: that of all layers of a target, their rows one below the other.
    """

    #: Whether the change depends on the weight itself.
    needs_weight = False

    @abstractmethod
    def forward(self, weight: Tensor | None) -> Tensor:
        """Return the change (outputs, inputs[, k, k]) in float32; ``weight``, of that shape, is None unless needed."""

    @abstractmethod
    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors as the file holds them, by the name behind the target's key."""

    @abstractmethod
    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over tensors of a file; raises LoracoreError when names, shapes or alpha do not fit."""

    def up_parameters(self) -> Sequence[nn.Parameter]:
        """Return the parameters that LoRA+ gives a higher learning rate."""
        return ()

    def shrink(self, factor: Tensor) -> None:
        """Multiply the change by a factor in (0, 1], in place; formulas that need the weight are left alone."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """The rank, for `loracore targets` and metadata."""

    @property
    @abstractmethod
    def alpha_value(self) -> float:
        """The alpha, for `loracore targets` and metadata."""


class ChangedWeight(Adapter):
    """A weight change in front of the layers of a target: output + change · inputs.

    The base weight stays as it is, in whichever precision; the change is made anew in every call. Of the dropouts,
    neurons and ranks leave out elements and rows of what the change adds.
    """

    def __init__(self, target: LoraTarget, change: WeightChange, dropouts: Dropouts | None = None) -> None:
        super().__init__()
        self.change = change
        self._rows = [len(layer.weight) for layer in target.layers]
        self._swapped_halves = target.swapped_halves
        self._masks = Masks(dropouts or Dropouts(), self._rows)

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:
        """Return ``output`` and what the weight change makes of the inputs (B,…,in) or (B,in,h,w)."""
        layer = layers[index]
        weights = [_weight(one) for one in layers] if self.change.needs_weight else ()
        change = self.weight_change(index, weights).to(inputs.dtype)
        if isinstance(layer, nn.Conv2d):
            assert not isinstance(layer.padding, str)
            added = functional.conv2d(inputs, change, None, layer.stride, layer.padding, layer.dilation)
        else:
            added = functional.linear(inputs, change)
        return output + self._masks.apply(added, index, channels_first=isinstance(layer, nn.Conv2d))

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return this layer's rows of the change."""
        whole = self.change(self._in_file(weights) if self.change.needs_weight else None)
        rows: Tensor = whole.split(self._rows)[index]
        return swap_halves(rows) if self._swapped_halves else rows

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the formula's tensors."""
        return self.change.file_tensors()

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the formula's tensors; raises LoracoreError when they do not fit."""
        self.change.load_file_tensors(tensors)

    def up_parameters(self) -> Sequence[nn.Parameter]:
        """Return the formula's up factors."""
        return self.change.up_parameters()

    @property
    def draws(self) -> bool:
        return self._masks.random

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw what each sample does without."""
        self._masks.draw(rng, self)

    def clear_masks(self) -> None:
        """Adapt every sample in full."""
        self._masks.clear()

    @torch.no_grad()
    def limit_norm(self, largest: float) -> Tensor | None:
        """Shrink the change when its norm is larger; return that. A change that needs the weight is left alone."""
        if self.change.needs_weight:
            return None
        norm: Tensor = self.change(None).norm()
        self.change.shrink(limiting_factor(norm, largest))
        return norm

    @property
    def rank(self) -> int:
        return self.change.rank

    @property
    def alpha_value(self) -> float:
        return self.change.alpha_value

    def _in_file(self, weights: Sequence[Tensor]) -> Tensor:
        """Return the weight that the file's change belongs to."""
        rows = [swap_halves(weight) if self._swapped_halves else weight for weight in weights]
        return rows[0] if len(rows) == 1 else torch.cat(rows)


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach().float()
