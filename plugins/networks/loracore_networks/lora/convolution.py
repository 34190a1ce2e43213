"""How a convolution moves over its input."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ConvShape:
    """Stride, padding and dilation of a layer; the factor that looks at its neighbourhood moves the same way."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @staticmethod
    def of(layer: nn.Module) -> ConvShape | None:
        """Return a convolution's shape, or None for any other layer."""
        if not isinstance(layer, nn.Conv2d):
            return None
        assert not isinstance(layer.padding, str)
        stride, padding, dilation = layer.stride, layer.padding, layer.dilation
        return ConvShape((stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]))

    def convolve(self, inputs: Tensor, factor: Tensor) -> Tensor:
        """Return what a factor (channels, in, k, k) makes of inputs (B, in, h, w)."""
        return functional.conv2d(inputs, factor, None, self.stride, self.padding, self.dilation)
