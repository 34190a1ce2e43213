"""The low-rank pair in front of a layer: output + up(down(inputs)) · alpha / rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore import Adapter, DataError, LoraTarget, SampleRng
from loracore.networks.low_rank import LowRank, Rows
from loracore.networks.masks import Dropouts, Masks
from loracore.networks.norms import limiting_factor, product_square
from loracore.networks.row_order import swap_halves
from loracore.networks.spellings import ALPHA, DOWN, MID, UP
from loracore.weights.factors import block_diagonal, diagonal_blocks, row_slices
from loracore_networks.kinds import TITLES
from loracore_networks.lora.convolution import ConvShape
from loracore_networks.matching import OTHER_SIZES, check_alpha, check_names, check_shapes, file_alpha

_TUCKER = "the file has Tucker factors: give the network argument use_tucker, or --dim_from_weights"


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
        self._pairs = pair_count(target)
        kernel = first.weight.shape[2:]
        # Drawn on the CPU whatever the layer's device, so that a seed starts every machine alike.
        device = "meta" if first.weight.is_meta else "cpu"
        self.down = nn.Parameter(torch.empty(self._pairs * rank, *first.weight.shape[1:], device=device))
        self.up = nn.Parameter(torch.zeros(sum(outputs), rank, *(1 for _ in kernel), device=device))
        self._alpha = alpha
        self._scale = alpha / rank
        self._swapped_halves = target.swapped_halves
        self._shape = ConvShape.of(first)
        self._masks = Masks(dropouts, [rank] * self._pairs)
        # Kaiming-uniform with a = √5, as nn.Linear starts (He et al. 2015, arXiv 1502.01852): bound 1/√fan_in.
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:  # noqa: ARG002  # the weights do not matter
        """Return ``output`` + up(down(inputs)) · alpha / rank; inputs (B,…,in) or (B,in,h,w)."""
        return output + self.raised(index, self.lowered(index, inputs))

    def low_rank(self, index: int) -> LowRank | None:
        """Return the layer's rows of both factors; none of a convolution, or where samples do without something."""
        if self._shape is not None or self._masks.random:
            return None
        ranks, rows = self._ranks(index if self._pairs > 1 else 0), self._rows[index]
        middle = rows.start + -(-(rows.stop - rows.start) // 2)  # where `swap_halves` cuts
        runs = [(middle, rows.stop), (rows.start, middle)] if self._swapped_halves else [(rows.start, rows.stop)]
        return LowRank(Rows(self.down, ranks.start, ranks.stop), [Rows(self.up, *run) for run in runs], self._scale)

    def lowered(self, index: int, inputs: Tensor, *, frozen: bool = False) -> Tensor:
        """Return the hidden state (B,…,rank) or (B,rank,h,w) under its masks; ``frozen`` gives down no gradient."""
        pair = index if self._pairs > 1 else 0
        down = self.down[self._ranks(pair)].to(inputs.dtype)
        down = down.detach() if frozen else down
        hidden = functional.linear(inputs, down) if self._shape is None else self._shape.convolve(inputs, down)
        return self._masks.apply(hidden, pair, channels_first=self._shape is not None)

    def raised(self, index: int, hidden: Tensor, *, frozen: bool = False) -> Tensor:
        """Return up(hidden) · alpha / rank; ``frozen`` gives up no gradient."""
        up = self._up(index).to(hidden.dtype)
        up = up.detach() if frozen else up
        change = functional.linear(hidden, up) if self._shape is None else functional.conv2d(hidden, up)
        return change * self._scale

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return alpha (no dimensions), down and up, as the field orders them."""
        alpha = torch.tensor(self._alpha * self._pairs)
        up = self.up if self._pairs == 1 else block_diagonal([self.up[rows] for rows in self._rows])
        return {ALPHA: alpha, DOWN: self.down, UP: up}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over down and up; raises DataError when names, shapes or the scale differ."""
        check_names(tensors, (DOWN, UP), TITLES["lora"], _TUCKER if MID in tensors else OTHER_SIZES)
        down, up = tensors[DOWN], tensors[UP] if self._pairs == 1 else self._stacked(tensors[UP])
        check_shapes({DOWN: down, UP: up}, {DOWN: self.down.shape, UP: self.up.shape})
        check_alpha(file_alpha(tensors, len(down)) / self._pairs, self._alpha)
        with torch.no_grad():
            self.down.copy_(down)
            self.up.copy_(up)

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return up · down · alpha / rank in the shape of the layer's weight, on which it does not depend."""
        down = self.down[self._ranks(index if self._pairs > 1 else 0)].flatten(1).float()
        return (self._up(index).flatten(1).float() @ down).view(weights[index].shape) * self._scale

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
        """Scale both factors by √(largest / norm) when the norm of the weight change is larger; return that norm."""
        norm = self.change_norm()
        factor = limiting_factor(norm, largest).sqrt()
        self.up.mul_(factor)
        self.down.mul_(factor)
        return norm

    def change_norm(self) -> Tensor:
        """Return the norm (Frobenius) of the weight change of all layers together."""
        squares = [product_square(up, down) for up, down in self._factors()]
        return torch.stack(squares).sum().sqrt() * self._scale

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
            raise shared()
        return torch.cat(blocks)


def pair_count(target: LoraTarget) -> int:
    """Return how many pairs of factors a target has: one, or one for each of its separate layers."""
    return len(target.layers) if target.separate else 1


def shared() -> DataError:
    """Return the error that a file's layers share what separate layers have each."""
    message = "the file holds one LoRA for layers that have a LoRA each in this run"
    return DataError(message, fix="leave out split_qkv")
