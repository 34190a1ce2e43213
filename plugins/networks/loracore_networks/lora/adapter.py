"""The low-rank pair in front of a layer: output + up(down(inputs)) · alpha / rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore import Adapter, Config, DataError, LoraTarget, NetworkOptions, SampleRng
from loracore.networks.masks import Dropouts, Masks
from loracore.networks.spellings import ALPHA, DOWN, UP
from loracore.weights.factors import block_diagonal, diagonal_blocks, row_slices
from loracore.weights.layout import swap_halves
from loracore_networks.lora.options import LoraOptions

DEFAULT_RANK = 4  # the field's default of network_dim


class LoraAdapter(Adapter):
    """Trainable factors: down (ranks, inputs[, k, k]) and up (outputs, rank[, 1, 1]), float32.

    Layers of one target share down, and each takes its rows of up. Separate layers have a down of ``rank`` rows each,
    stacked; the file then holds ups as one block-diagonal factor, and alpha times their number, so that alpha / rank
    there is the scale of training.
    """

    def __init__(self, target: LoraTarget, rank: int, alpha: float, dropouts: Dropouts) -> None:
        super().__init__()
        first = target.layers[0]
        outputs = [layer.weight.shape[0] for layer in target.layers]
        self._rows = row_slices(outputs)
        self._pairs = _pair_count(target)
        kernel = first.weight.shape[2:]
        # Drawn on the CPU whatever the layer's device, so that a seed starts every machine alike.
        device = "meta" if first.weight.is_meta else "cpu"
        self.down = nn.Parameter(torch.empty(self._pairs * rank, *first.weight.shape[1:], device=device))
        self.up = nn.Parameter(torch.zeros(sum(outputs), rank, *(1 for _ in kernel), device=device))
        self._alpha = alpha
        self._scale = alpha / rank
        self._swapped_halves = target.swapped_halves
        self._shape = _ConvShape.of(first)
        self._masks = Masks(dropouts, [rank] * self._pairs)
        # Kaiming-uniform with a = √5, as nn.Linear starts (He et al. 2015, arXiv 1502.01852): bound 1/√fan_in.
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:  # noqa: ARG002  # the weights do not matter
        """Return ``output`` + up(down(inputs)) · alpha / rank; inputs (B,…,in) or (B,in,h,w)."""
        pair = index if self._pairs > 1 else 0
        hidden = self._project(inputs, self.down[self._ranks(pair)])
        hidden = self._masks.apply(hidden, pair, channels_first=self._shape is not None)
        up = self._up(index).to(inputs.dtype)
        change = functional.linear(hidden, up) if self._shape is None else functional.conv2d(hidden, up)
        return output + change * self._scale

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return alpha (no dimensions), down and up, as the field orders them."""
        alpha = torch.tensor(self._alpha * self._pairs)
        up = self.up if self._pairs == 1 else block_diagonal([self.up[rows] for rows in self._rows])
        return {ALPHA: alpha, DOWN: self.down, UP: up}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over down and up; raises DataError when names, shapes or the scale differ."""
        if set(tensors) - {ALPHA} != {DOWN, UP}:
            message = f"tensors {sorted(tensors)} where a LoRA has {sorted({ALPHA, DOWN, UP})}"
            raise DataError(message, fix="the file is of another kind of network")
        down, up = tensors[DOWN], tensors[UP] if self._pairs == 1 else self._stacked(tensors[UP])
        shapes = {DOWN: (down, self.down), UP: (up, self.up)}
        for name, (found, own) in shapes.items():
            if found.shape != own.shape:
                message = f"{name} has shape {list(found.shape)}, this run's network {list(own.shape)}"
                raise DataError(message, fix="set network_dim to the file's rank, or give --dim_from_weights")
        alpha = (tensors[ALPHA].item() if ALPHA in tensors else len(down)) / self._pairs
        if not math.isclose(alpha, self._alpha, rel_tol=1e-2):  # files in half precision round it
            message = f"alpha is {alpha:g} in the file and {self._alpha:g} in this run: its strength would change"
            raise DataError(message, fix=f"set network_alpha = {alpha:g}, or give --dim_from_weights")
        with torch.no_grad():
            self.down.copy_(down)
            self.up.copy_(up)

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return up · down · alpha / rank in the shape of the layer's weight, on which it does not depend."""
        down = self.down[self._ranks(index if self._pairs > 1 else 0)].flatten(1).float()
        return (self._up(index).flatten(1).float() @ down).view(weights[index].shape) * self._scale

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw which neurons, which ranks, and whether the whole module each sample does without."""
        self._masks.draw(rng, self.down.device)

    def clear_masks(self) -> None:
        """Use every neuron, every rank and the module itself for every sample."""
        self._masks.clear()

    def up_parameters(self) -> Sequence[nn.Parameter]:
        """Return the up factor."""
        return [self.up]

    @torch.no_grad()
    def limit_norm(self, largest: float) -> None:
        """Scale both factors by √(largest / norm) when the norm of the weight change is larger (scale_weight_norms)."""
        # ‖UD‖² = tr(UᵀU · DDᵀ): rank × rank products, never one of the layer's size.
        squares = [((up.T @ up) * (down @ down.T)).sum() for up, down in self._factors()]
        norm = torch.stack(squares).sum().clamp(min=0).sqrt() * self._scale
        factor = (largest / norm.clamp(min=largest / 2)).clamp(max=1).sqrt()
        self.up.mul_(factor)
        self.down.mul_(factor)

    @property
    def rank(self) -> int:
        return self.up.shape[1]

    @property
    def alpha_value(self) -> float:
        return self._alpha

    def _ranks(self, pair: int) -> slice:
        return slice(pair * self.rank, (pair + 1) * self.rank)

    def _up(self, index: int) -> Tensor:
        """Return a layer's rows of up, in the layer's own order."""
        up = self.up[self._rows[index]]
        return swap_halves(up) if self._swapped_halves else up

    def _factors(self) -> list[tuple[Tensor, Tensor]]:
        """Return up and down of each pair as matrices."""
        up, down = self.up.flatten(1), self.down.flatten(1)
        if self._pairs == 1:
            return [(up, down)]
        return [(up[rows], down[self._ranks(pair)]) for pair, rows in enumerate(self._rows)]

    def _stacked(self, up: Tensor) -> Tensor:
        """Return the blocks of a file's block-diagonal up factor one below the other."""
        if len(up) != len(self.up):
            return up  # of another layer: its shape is the mistake
        blocks = diagonal_blocks(up, [rows.stop - rows.start for rows in self._rows])
        if blocks is None:
            raise _shared()
        return torch.cat(blocks)

    def _project(self, inputs: Tensor, factor: Tensor) -> Tensor:
        down = factor.to(inputs.dtype)
        if self._shape is None:
            return functional.linear(inputs, down)
        return functional.conv2d(inputs, down, None, self._shape.stride, self._shape.padding, self._shape.dilation)


@dataclass(frozen=True, slots=True)
class _ConvShape:
    """How a convolution moves over its input; the down factor moves the same way."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @staticmethod
    def of(layer: nn.Module) -> _ConvShape | None:
        if not isinstance(layer, nn.Conv2d):
            return None
        assert not isinstance(layer.padding, str)
        stride, padding, dilation = layer.stride, layer.padding, layer.dilation
        return _ConvShape((stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]))


def build_lora(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> LoraAdapter | None:
    """Return the adapter of one target, or None when the options give it no rank.

    Convolutions with a kernel above 1×1 take ``conv_dim``/``conv_alpha``; everything else ``network_dim`` and
    ``network_alpha``, unless the architecture says otherwise. A target among convolutions needs ``conv_dim``.
    """
    lora, network = config[LoraOptions], config[NetworkOptions]
    neurons = network.network_dropout if lora.dropout is None else lora.dropout
    dropouts = Dropouts(neurons, lora.rank_dropout, lora.module_dropout)
    if weights is not None:
        rank, alpha = _from_file(target, weights)
        return LoraAdapter(target, rank, alpha, dropouts)
    if target.needs_conv and lora.conv_dim is None:
        return None
    large = isinstance(target.layers[0], nn.Conv2d) and max(target.layers[0].kernel_size) > 1
    own_rank = lora.conv_dim if large else network.network_dim or DEFAULT_RANK
    own_alpha = lora.conv_alpha if large else network.network_alpha
    rank_given = own_rank if target.rank is None else target.rank
    alpha_given = own_alpha if target.alpha is None else target.alpha
    return LoraAdapter(target, rank_given, alpha_given or rank_given, dropouts) if rank_given else None


def _from_file(target: LoraTarget, weights: Mapping[str, Tensor]) -> tuple[int, float]:
    """Return rank and alpha of each of the target's pairs."""
    if DOWN not in weights:
        message = f"'{target.key}' has no {DOWN} but {sorted(weights)}"
        raise DataError(message, fix="the file is of another kind of network")
    pairs, ranks = _pair_count(target), weights[DOWN].shape[0]
    if ranks % pairs:
        raise _shared()
    return ranks // pairs, (float(weights[ALPHA].item()) if ALPHA in weights else float(ranks)) / pairs


def _pair_count(target: LoraTarget) -> int:
    return len(target.layers) if target.separate else 1


def _shared() -> DataError:
    message = "the file holds one LoRA for layers that have a LoRA each in this run"
    return DataError(message, fix="leave out split_qkv")
