"""A LoRA of which each sample trains a few ranks, so that the first ranks alone are a good LoRA too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loracore import Adapter, Config, ConfigError, DataError, LoraTarget, SampleRng
from loracore.networks.masks import mask_like
from loracore.noise.rng import sent
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora.building import build_lora


@dataclass(frozen=True, eq=False, slots=True)
class _Shares:
    """By how much each rank of each sample's hidden state is multiplied (B, rank): zero for what the other holds."""

    trained: Tensor
    frozen: Tensor


class DyloraAdapter(Adapter):
    """A LoRA whose samples draw the ranks that they train; all ranks are used in the sum.

    Each sample draws a rank, rounded down to a multiple b of ``unit``: ranks b … b + unit - 1 of both factors get
    gradients from it, and what is added is multiplied by √(rank / (b + unit)), as the field does. Without masks, in
    evaluation, it is the plain LoRA that the file holds.
    """

    def __init__(self, lora: LoraAdapter, unit: int) -> None:
        super().__init__()
        self.lora = lora
        self._unit = unit
        self._shares: _Shares | None = None

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:
        """Return ``output`` and what the LoRA adds to it, with gradients for the drawn ranks alone."""
        if self._shares is None:
            adapted: Tensor = self.lora(index, inputs, output, layers)
            return adapted
        trained, frozen = self.lora.lowered(index, inputs), self.lora.lowered(index, inputs, frozen=True)
        channels_first = isinstance(layers[index], nn.Conv2d)
        trained = trained * mask_like(self._shares.trained, trained, channels_first=channels_first)
        frozen = frozen * mask_like(self._shares.frozen, frozen, channels_first=channels_first)
        return output + self.lora.raised(index, trained) + self.lora.raised(index, frozen, frozen=True)

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the LoRA's tensors."""
        return self.lora.file_tensors()

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the LoRA's tensors; raises DataError when they do not fit."""
        self.lora.load_file_tensors(tensors)

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return the LoRA's change."""
        return self.lora.weight_change(index, weights)

    def up_parameters(self) -> Sequence[nn.Parameter]:
        """Return the up factor."""
        return self.lora.up_parameters()

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw which ranks each sample trains, and what it does without."""
        self.lora.draw_masks(rng)
        rank, unit = self.rank, self._unit
        first = rng.integers(0, rank) // unit * unit
        ranks = torch.arange(rank)
        drawn = (ranks >= first[:, None]) & (ranks < first[:, None] + unit)
        factor = (rank / (first + unit)).sqrt()[:, None]
        device = self.lora.down.device
        self._shares = _Shares(sent(factor * drawn, device), sent(factor * ~drawn, device))

    def clear_masks(self) -> None:
        """Adapt every sample by the plain LoRA."""
        self.lora.clear_masks()
        self._shares = None

    def limit_norm(self, largest: float) -> Tensor:
        """Scale both factors of the LoRA down; return the norm before."""
        return self.lora.limit_norm(largest)

    @property
    def rank(self) -> int:
        return self.lora.rank

    @property
    def alpha_value(self) -> float:
        return self.lora.alpha_value


def build_dylora(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> DyloraAdapter | None:
    """Return the adapter of one target, or None when the options give it no rank."""
    lora, unit = build_lora(target, weights, config), config[DyloraOptions].unit
    if lora is None:
        return None
    if not isinstance(lora, LoraAdapter):  # check_options refuses use_tucker
        raise DataError("the file has Tucker factors here", fix='train it as network_module = "lora"')
    if lora.rank % unit:
        message = f"unit = {unit} does not divide the rank {lora.rank} of '{target.key}'"
        raise ConfigError(message, where=config.place("unit"), fix="give a unit that divides every rank")
    return DyloraAdapter(lora, unit)
