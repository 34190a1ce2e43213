"""Under which keys a run's latents are in its store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loracore.config.options import PluginOptions
from loracore.data.cache_keys import KEY_BYTES, Keys, identity, latents_keys
from loracore.data.contents import content_digests, with_contents
from loracore.data.index import Index
from loracore.data.places import tables_folder
from loracore.data.store.cache_store import CacheStore
from loracore.training.assembly.phases import Loading
from loracore.training.caches.answering import answering
from loracore.training.caches.encoding import Wanted, stored_dtype


@dataclass(frozen=True, eq=False, slots=True)
class PictureKeys:
    """Under which keys a run's latents are in its store, by row of the index."""

    index: Index
    plain: Keys  # n, 16
    mirrored: Keys  # n, 16
    flips: NDArray[np.bool_]  # n: mirror images are needed too

    def slots(self, store: CacheStore) -> NDArray[np.int64]:
        """Return where the latents are: n, 2, the mirror image behind; -1 where they are missing or never needed."""
        mirrored = np.where(self.flips, store.find(self.mirrored), -1)
        return np.stack([store.find(self.plain), mirrored], axis=1)

    def has(self, store: CacheStore, row: int) -> bool:
        """Tell whether the store has all that is needed of a row."""
        own = store.slot(self.plain[row].tobytes()) >= 0
        return own and (not self.flips[row] or store.slot(self.mirrored[row].tobytes()) >= 0)

    def lacking(self, store: CacheStore) -> NDArray[np.int64]:
        """Return the rows of which the store lacks something; the same picture may be in several of them."""
        slots = self.slots(store)
        return np.flatnonzero((slots[:, 0] < 0) | (self.flips & (slots[:, 1] < 0)))

    def missing(self, store: CacheStore) -> list[Wanted]:
        """Return what the store lacks, every key once."""
        slots = self.slots(store)
        found: dict[bytes, Wanted] = {}
        for flipped, keys in enumerate((self.plain, self.mirrored)):
            lacking = (slots[:, flipped] < 0) & (self.flips if flipped else True)
            for row in np.flatnonzero(lacking).tolist():
                key = keys[row].tobytes()
                found.setdefault(key, Wanted(row, bool(flipped), key))
        return list(found.values())

    def take(self, rows: NDArray[np.bool_]) -> PictureKeys:
        """Return some rows."""
        return PictureKeys(self.index.take(rows), self.plain[rows], self.mirrored[rows], self.flips[rows])


def picture_keys(loading: Loading, index: Index, *, on_disk: bool) -> PictureKeys:
    """Return the keys of a run's latents; what only this run keeps needs no more than the row as its key.

    Their index is the given one, with digests in its tables where keys are made of them.
    """
    flips = np.array([source.subset.augmentations.flip_aug for source in index.sources], dtype=np.bool_)
    wanted = flips[index.source_rows]
    if not on_disk:
        rows = np.zeros((2, len(index), KEY_BYTES), dtype=np.uint8)
        rows[:, :, :8] = np.arange(len(index), dtype="<i8")[:, None].view(np.uint8)
        rows[1, :, 8] = 1
        return PictureKeys(index, rows[0], rows[1], wanted)
    own = latents_identity(loading)
    index = with_contents(index, tables_folder(loading.config))
    digests, mask_digests = content_digests(index)
    plain = latents_keys(own, index, digests, mask_digests, flipped=False)
    mirrored = latents_keys(own, index, digests, mask_digests, flipped=True) if wanted.any() else plain
    return PictureKeys(index, plain, mirrored, wanted)


def latents_identity(loading: Loading) -> bytes:
    """Return what all latents of this run have in common: model, precision and options."""
    config = loading.config
    return identity(
        "latents",
        {
            "arch": config[PluginOptions].arch,
            "model": loading.hook.cache_identity(part="vae", config=config),
            "plugins": answering(loading.hook.encode_images),
            "dtype": str(loading.dtype),
            "stored": str(stored_dtype(loading.dtype)),
            "options": config.affecting("latents"),
        },
    )
