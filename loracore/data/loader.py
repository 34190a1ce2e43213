"""Hands a micro-batch of the sampler over as Examples, from the caches or from the pictures themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loracore.data.cache import LatentCache, TextCache
from loracore.data.images import load_image
from loracore.data.picture import Index, Picture
from loracore.data.sampler import MicroBatch
from loracore.types import Examples


@dataclass(frozen=True, eq=False, slots=True)
class Loader:
    """The index with its caches; None in a cache's place means that the step encodes by itself."""

    index: Index
    latents: LatentCache | None
    text: TextCache | None

    def examples(self, batch: MicroBatch, epoch: int) -> Examples:
        """Return the samples of one micro-batch, pictures or cached latents, all of one size."""
        pictures = [self.index.pictures[row] for row in batch.rows]
        captions = tuple(picture.caption for picture in pictures)
        return Examples(
            ids=tuple(str(picture.path) for picture in pictures),
            epoch=epoch,
            positions=batch.positions,
            captions=captions,
            framings=tuple(picture.framing for picture in pictures),
            loss_weights=tuple(picture.loss_weight for picture in pictures),
            images=None if self.latents else load_images(pictures),
            latents=self.latents.batch(batch.rows) if self.latents else None,
            conditioning=self.text.batch(captions) if self.text else None,
        )


def load_images(pictures: Sequence[Picture]) -> Tensor:
    """Return pictures of one training size: B,3,H,W in [-1, 1]."""
    return torch.stack([torch.from_numpy(load_image(picture)) for picture in pictures])
