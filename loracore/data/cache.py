"""Encoded pictures and captions as training reads them: from a store, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loracore.data.cache_keys import text_key
from loracore.data.store.cache_store import CacheStore
from loracore.data.store.entries import DamagedEntryError, Entry
from loracore.data.store.tensors import stacked, to_arrays, to_tensors
from loracore.types import Latents, TextConditioning


@dataclass(frozen=True, eq=False, slots=True)
class LatentCache:
    """Latents by row of the index."""

    store: CacheStore
    slots: NDArray[np.int64]  # n, 2: of the picture, of its mirror image (-1: never needed)

    def batch(self, rows: Sequence[int], flipped: Sequence[bool]) -> tuple[Latents, Tensor | None]:
        """Return the latents of some rows, which must share a size (B,C,h,w), and their masks (B,1,h,w) if any has one.

        A picture without a mask counts everywhere.
        """
        pairs = zip(rows, flipped, strict=True)
        found = [_read(self.store, int(self.slots[row, int(mirror)])) for row, mirror in pairs]
        latents = Latents(stacked([one["mean"] for one in found]), stacked([one["log_variance"] for one in found]))
        if all("mask" not in one for one in found):
            return latents, None
        whole = torch.ones(1, *latents.mean.shape[-2:])
        return latents, torch.stack([to_tensors(one)["mask"].float() if "mask" in one else whole for one in found])


@dataclass(frozen=True, eq=False, slots=True)
class TextCache:
    """What the text encoders said of captions."""

    store: CacheStore
    identity: bytes
    foreign: Mapping[str, bytes] = field(default_factory=dict)  # keys of captions that another tool has encoded

    def batch(self, captions: Iterable[str]) -> TextConditioning:
        """Return the conditioning of some captions; shorter sequences are filled up with zeros."""
        slots = (self.store.slot(self.key(caption)) for caption in captions)
        found = [_read(self.store, slot) for slot in slots]
        return TextConditioning({name: stacked([one[name] for one in found]) for name in found[0]})

    def key(self, caption: str) -> bytes:
        """Return the key of a caption's entry."""
        return self.foreign.get(caption) or text_key(self.identity, caption)

    def slots(self, captions: Iterable[str]) -> NDArray[np.int64]:
        """Return where the captions' entries are, -1 where they are missing."""
        return np.fromiter((self.store.slot(self.key(caption)) for caption in captions), dtype=np.int64)

    def lacking(self, captions: Iterable[str]) -> list[str]:
        """Return the captions that the store lacks."""
        return [caption for caption in captions if self.store.slot(self.key(caption)) < 0]


def latents_entry(latents: Latents, row: int, mask: Tensor | None, dtype: torch.dtype) -> Mapping[str, Tensor]:
    """Return what is stored of one picture in ``dtype``: its latents, and its mask (1,h,w)."""
    found = {"mean": latents.mean[row].to(dtype), "log_variance": latents.log_variance[row].to(dtype)}
    return found if mask is None else {**found, "mask": mask.to(dtype)}


def append(store: CacheStore, key: bytes, tensors: Mapping[str, Tensor]) -> None:
    """Add tensors to a store."""
    store.append(key, to_arrays(tensors))


def forget_damaged(store: CacheStore, slots: NDArray[np.int64]) -> None:
    """Forget those of a run's entries that are damaged, all at once, before it counts what it has; ``notes`` tell.

    Otherwise each would stop a run of its own, in the middle of training.
    """
    store.forget(*store.damaged(np.unique(slots)).tolist())
    store.flush()


def _read(store: CacheStore, slot: int) -> Entry:
    """Return an entry; one whose bytes are damaged is forgotten, so that the next run makes it anew."""
    try:
        return store.read(slot)
    except DamagedEntryError:
        store.forget(slot)
        store.flush()
        raise
