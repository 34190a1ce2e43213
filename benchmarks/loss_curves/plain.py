"""The plain way: every adapter in front of its own layer, computed as it is written down; what others are held against.

No option switches grouping off, so this process patches what a run is made of, in three places: adapters name no
low-rank factors, so that each layer's output is computed first, and ``LoraAdapter.forward`` adds to it; attention keeps
diffusers' own processors, which call projections one by one and norms as they are written there; and torch's AdamW
steps the factors themselves, not flat buffers. All else is ``loracore train``:
``python -m benchmarks.loss_curves.plain WORK WORDS…``, as ``benchmarks.peers.ours`` is called.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from loracore_networks.lora.adapter import LoraAdapter

from benchmarks.peers import ours
from loracore.diffusion.attention import grouping
from loracore.training.updates.flat_adam import FlatAdam


@contextmanager
def plainly() -> Iterator[None]:
    """Have runs compute everything plainly, as long as this lasts."""
    with (
        patch.object(LoraAdapter, "low_rank", _nothing),
        patch.object(grouping, "group_attention", _no_groups),
        patch.object(FlatAdam, "fits", staticmethod(_never)),
    ):
        yield


def _nothing(adapter: LoraAdapter, index: int) -> None:
    """Name no factors: the network asks the adapter's ``forward`` then."""


def _no_groups(model: Any) -> tuple[()]:  # noqa: ARG001  # as it is called
    return ()


def _never(optimizer: Any) -> bool:  # noqa: ARG001  # as it is called
    return False


if __name__ == "__main__":
    with plainly():
        sys.exit(ours.main(*sys.argv[1:]))
