"""What each block of a model keeps for the backward pass, and what it costs to compute it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from loracore.memory.planning.live_storages import LiveStorages

#: The part that blocks' tensors are counted to.
BLOCKS = "kept by blocks"


@dataclass(frozen=True, slots=True)
class BlockCount:
    """One forward pass of a block: bytes that are alive after it and were not before, and what it computed."""

    kept: int  # its output included
    flops: int


@contextmanager
def counted_blocks(blocks: Sequence[nn.Module], live: LiveStorages) -> Iterator[dict[int, BlockCount]]:
    """Give what becomes known of every block by its place, as long as this lasts.

    Made after blocks are told to forget their activations: what is computed again in the backward pass is not counted.
    """
    counts: dict[int, BlockCount] = {}
    before = [(block, vars(block).get("forward")) for block in blocks]
    for place, block in enumerate(blocks):
        block.forward = partial(_counted, block.forward, place, counts, live)
    try:
        yield counts
    finally:
        for block, forward in before:
            put_back(block, forward)


def put_back(block: nn.Module, forward: Any) -> None:
    """Let a block's forward be shadowed by what shadowed it before; None: by nothing."""
    if forward is None:
        del block.forward
    else:
        block.forward = forward


def _counted(
    forward: Callable[..., Any],
    place: int,
    counts: dict[int, BlockCount],
    live: LiveStorages,
    *args: Any,
    **kwargs: Any,
) -> Any:
    held, computed = live.bytes, live.flops
    with live.part(BLOCKS):
        answer = forward(*args, **kwargs)
    counts[place] = BlockCount(live.bytes - held, live.flops - computed)
    return answer
