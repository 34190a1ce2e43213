"""The memory layout of convolutions: channels last (NHWC), as fast kernels of many devices want them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_DIMENSIONS = 4  # of a weight (outputs, inputs, k, k)


def lay_channels_last(module: nn.Module) -> None:
    """Lay the weights of convolutions out with their channels last; activations follow the weights.

    Shapes and values stay: adapters, files and merges see no difference.
    """
    for parameter in module.parameters():
        if parameter.dim() == _DIMENSIONS:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def convolves(blocks: Iterable[nn.Module]) -> bool:
    """Tell whether any of the blocks holds a convolution."""
    return any(isinstance(layer, nn.Conv2d) for block in blocks for layer in block.modules())
