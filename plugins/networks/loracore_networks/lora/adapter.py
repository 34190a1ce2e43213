"""The low-rank pair in front of a layer: output + up(down(inputs)) · alpha / rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore import Adapter, Config, DataError, LoraTarget, NetworkOptions, SampleRng
from loracore.noise.rng import hashed_uniform
from loracore_networks.lora.options import LoraOptions

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"
DEFAULT_RANK = 4  # the field's default of network_dim


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Shares in [0, 1) of what is left out in training."""

    neurons: float
    ranks: float
    modules: float


class LoraAdapter(Adapter):
    """Two trainable factors: down (rank, inputs[, k, k]) and up (outputs, rank[, 1, 1]), float32."""

    def __init__(self, target: LoraTarget, rank: int, alpha: float, dropouts: Dropouts) -> None:
        super().__init__()
        first = target.layers[0]
        outputs = [layer.weight.shape[0] for layer in target.layers]
        kernel = first.weight.shape[2:]
        # Drawn on the CPU whatever the layer's device, so that a seed starts every machine alike.
        device = "meta" if first.weight.is_meta else "cpu"
        self.down = nn.Parameter(torch.empty(rank, *first.weight.shape[1:], device=device))
        self.up = nn.Parameter(torch.zeros(sum(outputs), rank, *(1 for _ in kernel), device=device))
        self._alpha = alpha
        self._scale = alpha / rank
        self._dropouts = dropouts
        self._rows = [slice(sum(outputs[:index]), sum(outputs[: index + 1])) for index in range(len(outputs))]
        self._shape = _ConvShape.of(first)
        self._masks: Tensor | None = None  # B, rank
        self._neuron_seeds: Tensor | None = None  # B
        # Kaiming-uniform with a = √5, as nn.Linear starts (He et al. 2015, arXiv 1502.01852): bound 1/√fan_in.
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, index: int, inputs: Tensor, output: Tensor) -> Tensor:
        """Return ``output`` + up(down(inputs)) · alpha / rank; inputs (B,…,in) or (B,in,h,w)."""
        hidden = self._project(inputs)
        if self._neuron_seeds is not None:
            hidden = hidden * self._neuron_mask(self._neuron_seeds, hidden)
        if self._masks is not None:
            hidden = hidden * self._mask_like(hidden)
        up = self.up[self._rows[index]].to(inputs.dtype)
        change = functional.linear(hidden, up) if self._shape is None else functional.conv2d(hidden, up)
        return output + change * self._scale

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return alpha (no dimensions), down and up, as the field orders them."""
        return {ALPHA: torch.tensor(self._alpha), DOWN: self.down, UP: self.up}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over down and up; raises DataError when names, shapes or the scale differ."""
        own = {DOWN: self.down, UP: self.up}
        if set(tensors) - {ALPHA} != set(own):
            message = f"tensors {sorted(tensors)} where a LoRA has {sorted({*own, ALPHA})}"
            raise DataError(message, fix="the file is of another kind of network")
        for name, parameter in own.items():
            if tensors[name].shape != parameter.shape:
                message = f"{name} has shape {list(tensors[name].shape)}, this run's network {list(parameter.shape)}"
                raise DataError(message, fix="set network_dim to the file's rank, or give --dim_from_weights")
        alpha = tensors[ALPHA].item() if ALPHA in tensors else self.rank
        if not math.isclose(alpha, self._alpha, rel_tol=1e-2):  # files in half precision round it
            message = f"alpha is {alpha:g} in the file and {self._alpha:g} in this run: its strength would change"
            raise DataError(message, fix=f"set network_alpha = {alpha:g}, or give --dim_from_weights")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(tensors[name])

    def weight_change(self, index: int) -> Tensor:
        """Return up · down · alpha / rank in the shape of the layer's weight."""
        up, down = self.up[self._rows[index]].flatten(1).float(), self.down.flatten(1).float()
        return (up @ down).view(up.shape[0], *self.down.shape[1:]) * self._scale

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw which neurons, which ranks, and whether the whole module each sample does without."""
        if self._dropouts.neurons:
            self._neuron_seeds = rng.integers(0, 2**32).to(self.down.device)
        if not self._dropouts.ranks and not self._dropouts.modules:
            return
        ranks, modules = self._dropouts.ranks, self._dropouts.modules
        # Kept ranks are scaled by 1 / (1 - share), whatever the number kept, modules are not: the field's rule.
        masks = (rng.uniform(self.rank) >= ranks) / (1 - ranks) * (rng.uniform(1) >= modules)
        self._masks = masks.to(self.down.device)

    def clear_masks(self) -> None:
        """Use every neuron, every rank and the module itself for every sample."""
        self._masks = self._neuron_seeds = None

    @torch.no_grad()
    def limit_norm(self, largest: float) -> None:
        """Scale both factors by √(largest / norm) when the norm of the weight change is larger (scale_weight_norms)."""
        up, down = self.up.flatten(1), self.down.flatten(1)
        # ‖UD‖² = tr(UᵀU · DDᵀ): rank × rank products, never one of the layer's size.
        norm = ((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt() * self._scale
        factor = (largest / norm.clamp(min=largest / 2)).clamp(max=1).sqrt()
        self.up.mul_(factor)
        self.down.mul_(factor)

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def alpha_value(self) -> float:
        return self._alpha

    def _project(self, inputs: Tensor) -> Tensor:
        down = self.down.to(inputs.dtype)
        if self._shape is None:
            return functional.linear(inputs, down)
        return functional.conv2d(inputs, down, None, self._shape.stride, self._shape.padding, self._shape.dilation)

    def _neuron_mask(self, seeds: Tensor, hidden: Tensor) -> Tensor:
        """Return 0 or 1 / (1 - share) for every element: the same for all layers of the target, and in every call."""
        share = self._dropouts.neurons
        kept = hashed_uniform(seeds, hidden.numel() // len(seeds)) >= share
        return kept.view_as(hidden).to(hidden.dtype) / (1 - share)

    def _mask_like(self, hidden: Tensor) -> Tensor:
        assert self._masks is not None
        # A text encoder sees a long caption as several rows: one sample's rows share its mask.
        masks = self._masks.to(hidden.dtype).repeat_interleave(len(hidden) // len(self._masks), dim=0)
        if self._shape is not None:
            return masks[:, :, None, None]
        return masks.view(len(hidden), *(1 for _ in hidden.shape[1:-1]), -1)


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
    if DOWN not in weights:
        message = f"'{target.key}' has no {DOWN} but {sorted(weights)}"
        raise DataError(message, fix="the file is of another kind of network")
    rank = weights[DOWN].shape[0]
    return rank, float(weights[ALPHA].item()) if ALPHA in weights else float(rank)
