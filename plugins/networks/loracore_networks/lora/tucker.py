"""Three factors in front of a larger convolution: output + up(mid(down(inputs))) · alpha / rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore import Adapter, ConfigError, LoraTarget, SampleRng
from loracore.networks.masks import Dropouts, Masks
from loracore.networks.norms import limiting_factor, product_square
from loracore.networks.row_order import swap_halves
from loracore.networks.spellings import ALPHA, DOWN, MID, UP
from loracore.networks.third_factor import folded
from loracore.weights.factors import row_slices
from loracore_networks.kinds import TITLES
from loracore_networks.lora.convolution import ConvShape
from loracore_networks.matching import take_over
from loracore_networks.ranks import Size


class TuckerAdapter(Adapter):
    """Trainable factors: down (rank, inputs, 1, 1), mid (rank, rank, k, k) and up (outputs, rank, 1, 1), float32.

    The Tucker-2 form of a convolution (Kim et al. 2016, arXiv 1511.06530), which the field calls CP too. Channels are
    reduced before the neighbourhood is looked at: inputs · rank + k² · rank² numbers below up, not k² · inputs · rank.
    """

    def __init__(self, target: LoraTarget, rank: int, alpha: float, dropouts: Dropouts) -> None:
        super().__init__()
        if target.separate:
            message = f"'{target.key}': layers with factors of their own cannot have Tucker factors"
            raise ConfigError(message, where="use_tucker", fix="leave out use_tucker or split_qkv")
        weight, shape = target.layers[0].weight, ConvShape.of(target.layers[0])
        assert shape is not None, "only convolutions have a middle factor"
        self._shape = shape
        outputs = [len(layer.weight) for layer in target.layers]
        device = "meta" if weight.is_meta else "cpu"  # a seed starts every machine alike
        self.down = nn.Parameter(torch.empty(rank, weight.shape[1], 1, 1, device=device))
        self.mid = nn.Parameter(torch.empty(rank, rank, *weight.shape[2:], device=device))
        self.up = nn.Parameter(torch.zeros(sum(outputs), rank, 1, 1, device=device))
        self._rows = row_slices(outputs)
        self._swapped_halves = target.swapped_halves
        self._alpha = alpha
        self._scale = alpha / rank
        self._masks = Masks(dropouts, [rank])
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.mid, a=math.sqrt(5))

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:  # noqa: ARG002  # the weights do not matter
        """Return ``output`` + up(mid(down(inputs))) · alpha / rank; inputs (B,in,h,w)."""
        hidden = functional.conv2d(inputs, self.down.to(inputs.dtype))
        hidden = self._shape.convolve(hidden, self.mid.to(inputs.dtype))
        hidden = self._masks.apply(hidden, 0, channels_first=True)
        return output + functional.conv2d(hidden, self._up(index).to(inputs.dtype)) * self._scale

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return alpha (no dimensions), down, mid and up."""
        return {ALPHA: torch.tensor(self._alpha), DOWN: self.down, MID: self.mid, UP: self.up}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the factors; raises DataError when names, shapes or the scale differ."""
        own = {DOWN: self.down, MID: self.mid, UP: self.up}
        take_over(own, tensors, TITLES["lora"], Size(self.rank, self._alpha))

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return Σ up · mid · down · alpha / rank in the shape of the layer's weight, on which it does not depend."""
        change = self._up(index).flatten(1).float() @ self._kernels().flatten(1)
        return change.view(weights[index].shape) * self._scale

    @property
    def draws(self) -> bool:
        return self._masks.random

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw which neurons, which ranks, and whether the whole module each sample does without."""
        self._masks.draw(rng, self)

    def clear_masks(self) -> None:
        """Use every neuron, every rank and the module itself for every sample."""
        self._masks.clear()

    def up_parameters(self) -> Sequence[nn.Parameter]:
        """Return the up factor."""
        return [self.up]

    @torch.no_grad()
    def limit_norm(self, largest: float) -> Tensor:
        """Scale each factor by the cube root of (largest / norm) when the norm of the change is larger; return that."""
        norm = self.change_norm()
        factor = limiting_factor(norm, largest) ** (1 / 3)
        for one in (self.down, self.mid, self.up):
            one.mul_(factor)
        return norm

    def change_norm(self) -> Tensor:
        """Return the norm (Frobenius) of the weight change of all layers together."""
        return product_square(self.up.flatten(1).float(), self._kernels().flatten(1)).sqrt() * self._scale

    @property
    def rank(self) -> int:
        return len(self.down)

    @property
    def alpha_value(self) -> float:
        return self._alpha

    def _kernels(self) -> Tensor:
        """Return what mid and down are together (rank, inputs, k, k)."""
        return folded(self.mid, self.down)

    def _up(self, index: int) -> Tensor:
        """Return a layer's rows of up, in the layer's own order."""
        up = self.up[self._rows[index]]
        return swap_halves(up) if self._swapped_halves else up
