"""A block's frozen weights in one run of bytes, on the host for good, and as views into any other run of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: Bytes; each tensor begins at a multiple of it, as the fastest kernels of CPUs and cards want.
_ALIGNMENT = 256


@dataclass(frozen=True, eq=False, slots=True)
class BlockWeights:
    """The frozen parameters of one block, and the host's permanent copy of them.

    The copy is never written again: frozen weights travel from the host to the device only.
    """

    parameters: Sequence[nn.Parameter]
    starts: Sequence[int]  # of each parameter in the run of bytes
    host: Tensor  # bytes

    @classmethod
    def of(cls, block: nn.Module, *, pinned: bool) -> BlockWeights:
        """Take the frozen parameters over into host memory, page-locked when ``pinned``; they are of any dtype."""
        parameters = [parameter for parameter in block.parameters() if not parameter.requires_grad]
        starts, size = [], 0
        for parameter in parameters:
            starts.append(size)
            size += -(-parameter.nbytes // _ALIGNMENT) * _ALIGNMENT
        host = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        for parameter, start in zip(parameters, starts, strict=True):
            _carved(host, start, parameter).copy_(parameter.data)
        weights = cls(parameters, starts, host)
        weights.live_in(host)
        return weights

    def live_in(self, place: Tensor) -> None:
        """Let the parameters be views into ``place``, bytes that hold (or will hold) what the host's copy holds."""
        for parameter, start in zip(self.parameters, self.starts, strict=True):
            parameter.data = _carved(place, start, parameter)


def _carved(place: Tensor, start: int, like: Tensor) -> Tensor:
    return place[start : start + like.nbytes].view(like.dtype).view(like.shape)
