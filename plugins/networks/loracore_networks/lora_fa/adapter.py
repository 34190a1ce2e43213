"""A LoRA whose up factor alone is trained, so that no inputs of its layers need to be kept for the backward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from loracore import Adapter, Config, LoraTarget, SampleRng
from loracore.networks.low_rank import LowRank
from loracore.networks.norms import limiting_factor
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.tucker import TuckerAdapter


class LoraFaAdapter(Adapter):
    """A LoRA with its down factor (and the middle one of larger convolutions) frozen.

    The frozen factors are saved and taken back with the others: the file is a plain LoRA.
    """

    def __init__(self, lora: LoraAdapter | TuckerAdapter) -> None:
        super().__init__()
        self.lora = lora
        for parameter in lora.parameters():
            parameter.requires_grad_(parameter is lora.up)
        # The field's start: normal with variance 2 / (input channels + rank), as Glorot and Bengio (2010) have it.
        nn.init.normal_(lora.down, std=math.sqrt(2 / (lora.down.shape[1] + lora.rank)))

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:
        """Return ``output`` and what the LoRA adds to it."""
        adapted: Tensor = self.lora(index, inputs, output, layers)
        return adapted

    def low_rank(self, index: int) -> LowRank | None:
        """Return the LoRA's factors."""
        return self.lora.low_rank(index)

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the LoRA's tensors."""
        return self.lora.file_tensors()

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the LoRA's tensors, the frozen ones too; raises DataError when they do not fit."""
        self.lora.load_file_tensors(tensors)

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return the LoRA's change."""
        return self.lora.weight_change(index, weights)

    def trained_parameters(self) -> Sequence[nn.Parameter]:
        """Return the up factor; LoRA+ is refused, as there is nothing that it could move faster than."""
        return [self.lora.up]

    @property
    def draws(self) -> bool:
        return self.lora.draws

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw which neurons, which ranks, and whether the whole module each sample does without."""
        self.lora.draw_masks(rng)

    def clear_masks(self) -> None:
        """Adapt every sample in full."""
        self.lora.clear_masks()

    @torch.no_grad()
    def limit_norm(self, largest: float) -> Tensor:
        """Scale up by largest / norm when the norm of the weight change is larger; return that. Down stays as it is."""
        norm = self.lora.change_norm()
        self.lora.up.mul_(limiting_factor(norm, largest))
        return norm

    @property
    def rank(self) -> int:
        return self.lora.rank

    @property
    def alpha_value(self) -> float:
        return self.lora.alpha_value


def build_lora_fa(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> LoraFaAdapter | None:
    """Return the adapter of one target, or None when the options give it no rank."""
    lora = build_lora(target, weights, config)
    return None if lora is None else LoraFaAdapter(lora)
