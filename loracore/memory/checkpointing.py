"""Activation checkpointing, block by block: keep a block's inputs, compute the rest again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(blocks: Iterable[nn.Module]) -> None:
    """Make every block forget its activations (Chen et al. 2016, arXiv 1604.06174).

    The global generators are put back for the second computation, so that dropout inside a block draws the same masks.
    """
    for block in blocks:
        block.forward = partial(_checkpointed, block.forward)


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # any block
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
