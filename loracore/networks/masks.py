"""What the samples of a micro-batch do without in training: neurons, ranks or rows, whole modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loracore.noise.rng import SampleRng, hashed_uniform, sent


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Shares in [0, 1) of what is left out in training."""

    neurons: float = 0.0
    ranks: float = 0.0
    modules: float = 0.0


class Masks:
    """An adapter's random masks: drawn once a micro-batch, used alike in every call of its forward.

    ``widths`` are the channels of each hidden state that is masked by its place: the ranks of each pair of factors, or
    the rows of each layer's change.
    """

    def __init__(self, dropouts: Dropouts, widths: Sequence[int]) -> None:
        self._dropouts = dropouts
        self._random = any((dropouts.neurons, dropouts.ranks, dropouts.modules))
        self._widths = list(widths)
        self._channels: Sequence[Tensor] = ()  # B, width, for each place
        self._seeds: Sequence[Tensor] = ()  # B, for each place

    @property
    def random(self) -> bool:
        """Tell whether anything is ever left out."""
        return self._random

    def draw(self, rng: SampleRng, adapter: nn.Module) -> None:
        """Draw which neurons, which channels, and whether the whole module each sample does without.

        Where nothing is left out this does nothing, and looks for nothing: a network has hundreds of adapters.
        """
        if not self._random:
            return
        device = next(adapter.parameters()).device
        if self._dropouts.neurons:
            self._seeds = [sent(rng.integers(0, 2**32), device) for _ in self._widths]
        if not self._dropouts.ranks and not self._dropouts.modules:
            return
        ranks, modules = self._dropouts.ranks, self._dropouts.modules
        # Kept ranks are scaled by 1 / (1 - share), whatever the number kept, modules are not: the field's rule.
        kept = (rng.uniform(sum(self._widths)) >= ranks) / (1 - ranks) * (rng.uniform(1) >= modules)
        self._channels = torch.split(sent(kept, device), self._widths, dim=1)

    def clear(self) -> None:
        """Use every neuron, every channel and the module itself for every sample."""
        self._channels, self._seeds = (), ()

    def apply(self, hidden: Tensor, place: int, *, channels_first: bool) -> Tensor:
        """Return a hidden state (B,…,width), or (B,width,h,w) with ``channels_first``, without what was drawn."""
        if self._seeds:
            hidden = hidden * self._neuron_mask(self._seeds[place], hidden)
        if self._channels:
            hidden = hidden * mask_like(self._channels[place], hidden, channels_first=channels_first)
        return hidden

    def _neuron_mask(self, seeds: Tensor, hidden: Tensor) -> Tensor:
        """Return 0 or 1 / (1 - share) for every element: the same in every call."""
        share = self._dropouts.neurons
        kept = hashed_uniform(seeds, hidden.numel() // len(seeds)) >= share
        return kept.view_as(hidden).to(hidden.dtype) / (1 - share)


def mask_like(drawn: Tensor, hidden: Tensor, *, channels_first: bool) -> Tensor:
    """Return factors (B,width) in the shape of a hidden state, by which it is multiplied.

    A text encoder sees a long caption as several rows: one sample's rows share its factors.
    """
    masks = drawn.to(hidden.dtype).repeat_interleave(len(hidden) // len(drawn), dim=0)
    if channels_first:
        return masks[:, :, None, None]
    return masks.view(len(hidden), *(1 for _ in hidden.shape[1:-1]), -1)
