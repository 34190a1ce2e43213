"""A block's frozen weights in one run of bytes, on the host for good, and as views into any other run of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loracore.memory.quantised.linear import stored_tensors

#: Bytes; each tensor begins at a multiple of it, as the fastest kernels of CPUs and cards want.
_ALIGNMENT = 256


@dataclass(frozen=True, eq=False, slots=True)
class BlockWeights:
    """The frozen weights of one block, and the host's permanent copy of them.

    The copy is never written again: frozen weights travel from the host to the device only.
    """

    tensors: Sequence[Tensor]
    starts: Sequence[int]  # of each tensor in the run of bytes
    host: Tensor  # bytes

    @classmethod
    def of(cls, block: nn.Module, *, pinned: bool) -> BlockWeights:
        """Take the frozen weights over into host memory, page-locked when ``pinned``; they are of any dtype."""
        tensors = list(frozen_tensors(block))
        starts, size = [], 0
        for tensor in tensors:
            starts.append(size)
            size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        host = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        for tensor, start in zip(tensors, starts, strict=True):
            _carved(host, start, tensor).copy_(tensor.data)
        weights = cls(tensors, starts, host)
        weights.live_in(host)
        return weights

    def live_in(self, place: Tensor) -> None:
        """Let the weights be views into ``place``, bytes that hold (or will hold) what the host's copy holds."""
        for tensor, start in zip(self.tensors, self.starts, strict=True):
            tensor.data = _carved(place, start, tensor)


def frozen_tensors(block: nn.Module) -> Iterator[Tensor]:
    """Give the block's frozen parameters, and what its weights of fewer bits are stored in."""
    yield from (parameter for parameter in block.parameters() if not parameter.requires_grad)
    yield from stored_tensors(block)


def size_in_slot(block: nn.Module) -> int:
    """Return how many bytes the block's frozen weights take in one run of bytes."""
    return sum(-(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT for tensor in frozen_tensors(block))


def _carved(place: Tensor, start: int, like: Tensor) -> Tensor:
    return place[start : start + like.nbytes].view(like.dtype).view(like.shape)
