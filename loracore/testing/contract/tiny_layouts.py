"""Places of a few numbers where a network may put an adapter: one for each form that architectures have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore.types import DENOISER, LoraTarget

_INPUTS = 6


@dataclass(frozen=True, slots=True)
class Layout:
    """The layers of one target, and what goes into them."""

    title: str  # for messages: "a Linear layer"
    outputs: tuple[int, ...] = (16,)  # of each layer
    kernel: int = 0  # 0: Linear
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    separate: bool = False

    @property
    def key(self) -> str:
        return f"lora_unet_{self.title.removeprefix('a ').replace(' ', '_').replace('×', 'x').lower()}"

    def target(self, dtype: torch.dtype = torch.float32, device: str = "cpu") -> LoraTarget:
        """Return the target with new layers, frozen, always the same numbers in them."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            layers = tuple(self._layer(count).requires_grad_(requires_grad=False) for count in self.outputs)
        placed = tuple(layer.eval().to(device, dtype) for layer in layers)
        paths = tuple(f"layer{index}" for index in range(len(placed)))
        return LoraTarget(self.key, placed, paths, DENOISER, separate=self.separate)

    def inputs(self, number: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return inputs of two samples, (2,3,6) or (2,6,5,5); another number gives others of the same shape."""
        shape = (2, _INPUTS, 5, 5) if self.kernel else (2, 3, _INPUTS)
        return torch.randn(shape, generator=torch.Generator().manual_seed(number)).to(dtype)

    def _layer(self, outputs: int) -> nn.Linear | nn.Conv2d:
        if self.kernel:
            return nn.Conv2d(_INPUTS, outputs, self.kernel, self.stride, self.padding, self.dilation)
        return nn.Linear(_INPUTS, outputs)


#: Where every network is tried.
LAYOUTS = (
    Layout("a Linear layer"),
    Layout("a 1×1 convolution", kernel=1),
    Layout("a 3×3 convolution with stride 2 and dilation 2", kernel=3, stride=2, padding=2, dilation=2),
    Layout("two fused Linear layers", outputs=(8, 8)),
    Layout("two separate Linear layers", outputs=(8, 8), separate=True),
)


def applied(layer: nn.Module, weight: Tensor, inputs: Tensor) -> Tensor:
    """Return what a layer would say of its inputs with another weight."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if isinstance(layer, nn.Linear):
        return functional.linear(inputs, weight, layer.bias)
    assert not isinstance(layer.padding, str)
    return functional.conv2d(inputs, weight, layer.bias, layer.stride, layer.padding, layer.dilation)
