"""The adapter: a weight change that is the element-wise product of two or three low-rank matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore import Adapter, DataError, LoraTarget, NetworkOptions


class ProductAdapter(Adapter):
    """Factors up (outputs, rank) and down (rank, inputs); the last up starts at zero."""

    def __init__(self, target: LoraTarget, rank: int, alpha: float, factors: int) -> None:
        super().__init__()
        weights = [layer.weight for layer in target.layers]
        outputs, inputs = sum(len(weight) for weight in weights), weights[0][0].numel()
        device = "meta" if weights[0].is_meta else "cpu"
        self.ups = nn.ParameterList(torch.randn(outputs, rank, device=device) for _ in range(factors - 1))
        self.ups.append(torch.zeros(outputs, rank, device=device))
        self.downs = nn.ParameterList(torch.randn(rank, inputs, device=device) * 0.1 for _ in range(factors))
        self._alpha = alpha
        self._shapes = [weight.shape for weight in weights]
        self._operation = operation_of(target.layers[0])

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:
        """Return ``output`` and what the weight change makes of the inputs."""
        _ = layers  # nor does it look at their weights
        change = self._change(index).to(inputs.dtype)
        return output + self._operation(inputs, change)

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return "alpha", and "up1", "down1", and so on."""
        pairs = enumerate(zip(self.ups, self.downs, strict=True), start=1)
        named = {
            f"{kind}{number}": one for number, pair in pairs for kind, one in zip(("up", "down"), pair, strict=True)
        }
        return {"alpha": torch.tensor(self._alpha), **named}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over factors of the same number and shapes."""
        own = self.file_tensors()
        if {name: one.shape for name, one in tensors.items()} != {name: one.shape for name, one in own.items()}:
            message = f"the file holds {sorted(tensors)}, this run's network {sorted(own)}"
            raise DataError(message, fix="give the options that it was trained with")
        with torch.no_grad():
            for name, one in own.items():
                one.copy_(tensors[name])

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return the product of the products, scaled by alpha / rank."""
        _ = weights  # this network's change does not depend on it
        return self._change(index)

    def _change(self, index: int) -> Tensor:
        start = sum(shape[0] for shape in self._shapes[:index])
        rows = slice(start, start + self._shapes[index][0])
        products = [up[rows] @ down for up, down in zip(self.ups, self.downs, strict=True)]
        product: Tensor = reduce(torch.mul, products)
        return product.view(self._shapes[index]) * (self._alpha / self.rank)

    @torch.no_grad()
    def limit_norm(self, largest: float) -> None:
        """Scale the last factor down."""
        norm = torch.cat([self._change(index).flatten() for index in range(len(self._shapes))]).norm()
        self.ups[-1].mul_((largest / norm.clamp(min=largest)).clamp(max=1))

    @property
    def rank(self) -> int:
        return len(self.downs[0])

    @property
    def alpha_value(self) -> float:
        return self._alpha


def operation_of(layer: nn.Linear | nn.Conv2d) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what such a layer does with inputs and a weight."""
    if isinstance(layer, nn.Linear):
        return functional.linear
    return partial(functional.conv2d, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)


def build(
    target: LoraTarget, weights: Mapping[str, Tensor] | None, network: NetworkOptions, factors: int
) -> ProductAdapter | None:
    """Return the adapter of one target, as the file says or as the options do; None for rank 0."""
    if weights is not None:
        if not {"alpha", "up1", "up2"} <= set(weights):
            raise DataError(f"'{target.key}' holds {sorted(weights)}", fix="the file is of another network")
        return ProductAdapter(target, weights["up1"].shape[1], weights["alpha"].item(), len(weights) // 2)
    rank = (network.network_dim or 4) if target.rank is None else target.rank
    alpha = network.network_alpha if target.alpha is None else target.alpha
    return ProductAdapter(target, rank, alpha or rank, factors) if rank else None
