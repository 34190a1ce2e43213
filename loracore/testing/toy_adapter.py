"""The toy network's adapter: up(down(inputs)), with a convolution's window in the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore import Adapter, DataError, LoraTarget


class ToyAdapter(Adapter):
    """Two factors for all layers of a target; up starts at zero, so that nothing changes at first."""

    def __init__(self, target: LoraTarget, rank: int) -> None:
        super().__init__()
        weights = [layer.weight for layer in target.layers]
        device = "meta" if weights[0].is_meta else "cpu"
        ends = list(accumulate(len(weight) for weight in weights))
        self._rows = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        self.down = nn.Parameter(torch.randn(rank, *weights[0].shape[1:], device=device))
        self.up = nn.Parameter(torch.zeros(ends[-1], rank, device=device))

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:
        """Return the layer's output and what the factors make of its inputs."""
        layer, up = layers[index], self.up[self._rows[index]].to(inputs.dtype)
        down = self.down.to(inputs.dtype)
        if isinstance(layer, nn.Conv2d):
            window = functional.conv2d(inputs, down, None, layer.stride, layer.padding, layer.dilation)
            return output + functional.conv2d(window, up[:, :, None, None])
        return output + functional.linear(functional.linear(inputs, down), up)

    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return both factors."""
        return {"down": self.down, "up": self.up}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over both factors; raises DataError for others."""
        own = {name: tensor.shape for name, tensor in self.file_tensors().items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != own:
            message = f"{sorted(tensors)} are not the factors of this layer"
            raise DataError(message, fix="give a file of the same network")
        with torch.no_grad():
            self.down.copy_(tensors["down"])
            self.up.copy_(tensors["up"])

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return up · down in the shape of the layer's weight."""
        change = self.up[self._rows[index]].float() @ self.down.flatten(1).float()
        return change.view(weights[index].shape)

    @property
    def rank(self) -> int:
        return len(self.down)

    @property
    def alpha_value(self) -> float:
        return float(self.rank)
