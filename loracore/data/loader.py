"""Hands micro-batches over as Examples, ahead of time, from the caches or from the pictures themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from loracore.data.cache import LatentCache, TextCache
from loracore.data.index import Index
from loracore.data.pictures.images import Pixels, load_pixels
from loracore.data.pictures.picture import Picture
from loracore.data.sampler import MicroBatch
from loracore.data.visits import Draws, Visit
from loracore.types import Examples, Latents

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False, slots=True)
class Loader:
    """The index with its caches; None in a cache's place means that the step encodes by itself.

    It keeps nothing between two calls, so that any number of threads may load at once, and in any order.
    """

    index: Index
    draws: Draws
    multipliers: Sequence[float]  # network_multiplier of each data set
    latents: LatentCache | None
    text: TextCache | None

    def examples(self, batch: MicroBatch, epoch: int, step: int) -> Examples:
        """Return the samples of one micro-batch, pictures or cached latents, all of one size.

        ``epoch`` and the optimizer ``step`` count from 0.
        """
        pictures = [self.index.picture(row) for row in batch.rows]
        visits = [Visit(epoch, turn, step) for turn in batch.turns]
        captions = tuple(self.draws.caption(*one) for one in zip(pictures, visits, strict=True))
        flipped = [self.draws.flipped(*one) for one in zip(pictures, visits, strict=True)]
        plain = Examples(
            ids=tuple(str(picture.path) for picture in pictures),
            epoch=epoch,
            positions=batch.positions,
            captions=captions,
            framings=tuple(picture.framing for picture in pictures),
            loss_weights=tuple(picture.subset.loss_weight for picture in pictures),
            conditioning=self.text.batch(captions) if self.text else None,
            network_multiplier=self.multipliers[pictures[0].dataset],
            attributes=tuple(picture.subset.custom_attributes for picture in pictures),
        )
        if self.latents is not None:
            return _with_latents(plain, *self.latents.batch(batch.rows, flipped), flipped)
        rngs = [self.draws.pixels(*one) for one in zip(pictures, visits, strict=True)]
        several = zip(pictures, flipped, rngs, strict=True)
        return _with_pixels(plain, [load_pixels(one, flipped=mirror, rng=rng) for one, mirror, rng in several])


def load_images(pictures: Iterable[Picture], *, flipped: bool = False) -> tuple[Tensor, Sequence[Tensor | None]]:
    """Return pictures of one training size (B,3,H,W in [-1, 1]), nothing at random, and the mask of each (1,H,W)."""
    several = [load_pixels(picture, flipped=flipped) for picture in pictures]
    masks = [None if pixels.mask is None else torch.from_numpy(pixels.mask) for pixels in several]
    return torch.from_numpy(np.stack([pixels.image for pixels in several])), masks


def ahead(
    make: Callable[[Item], Made], items: Iterable[Item], workers: int, may_begin: Event | None = None
) -> Iterator[Made]:
    """Give ``make(item)`` for each item, in order, made by threads before it is asked for.

    At most twice as many as there are ``workers`` wait; with 0 nothing is made ahead. Pillow, numpy and torch work
    outside the interpreter's lock; threads share the index and the caches where processes would copy them.

    With ``may_begin`` a thread begins an item only while it is set, or when the item is waited for: what is made in
    little time and holds that lock meanwhile is better made while the caller needs it least.
    """
    if workers < 1:
        yield from map(make, items)
        return
    gate = may_begin or _open()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(_behind, gate, make, item))
            if len(waiting) > 2 * workers:
                yield _awaited(waiting.popleft(), gate)
        while waiting:
            yield _awaited(waiting.popleft(), gate)
    finally:
        gate.set()  # or the threads would never end
        pool.shutdown(wait=True, cancel_futures=True)


def _open() -> Event:
    gate = Event()
    gate.set()
    return gate


def _behind(gate: Event, make: Callable[[Item], Made], item: Item) -> Made:
    gate.wait()
    return make(item)


def _awaited(future: Future[Made], gate: Event) -> Made:
    if not future.done():
        gate.set()
    return future.result()


def _with_latents(plain: Examples, latents: Latents, masks: Tensor | None, flipped: Sequence[bool]) -> Examples:
    framings = tuple(replace(framing, flipped=mirror) for framing, mirror in zip(plain.framings, flipped, strict=True))
    return replace(plain, framings=framings, latents=latents, masks=masks)


def _with_pixels(plain: Examples, several: Sequence[Pixels]) -> Examples:
    images = torch.from_numpy(np.stack([pixels.image for pixels in several]))
    masks = None
    if any(pixels.mask is not None for pixels in several):
        whole = np.ones((1, *images.shape[-2:]), dtype=np.float32)
        masks = torch.from_numpy(np.stack([whole if one.mask is None else one.mask for one in several]))
    return replace(plain, framings=tuple(one.framing for one in several), images=images, masks=masks)
