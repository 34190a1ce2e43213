"""Which caches a run has, what they hold already, and what is left to encode."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from loracore.config.config import Config
from loracore.config.options import DataOptions, LoggingOptions, PluginOptions
from loracore.data.cache import LatentCache, TextCache, forget_damaged
from loracore.data.cache_keys import identity, text_key
from loracore.data.index import Index
from loracore.data.places import tensors_folder
from loracore.data.store.cache_store import CacheStore
from loracore.data.store.memory import MemoryStore
from loracore.data.store.store import Store
from loracore.errors import DataError
from loracore.training.assembly.phases import Loading
from loracore.training.caches.answering import answering
from loracore.training.caches.encoding import encode_pictures, encode_texts
from loracore.training.caches.exporting import export_field_latents, export_field_texts
from loracore.training.caches.importing import (
    import_field_latents,
    import_field_texts,
    with_foreign_latents,
    with_foreign_texts,
)
from loracore.training.caches.picture_keys import PictureKeys
from loracore.training.processes import Processes
from loracore.types import Part
from loracore.weights.merge.base_weights import text_changes


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling a cache came to, in entries."""

    name: str
    hits: int
    new: int
    notes: tuple[str, ...] = ()  # what came of the field's files beside the pictures

    def __str__(self) -> str:
        return f"{self.name}: {self.hits} from the cache, {self.new} encoded now"


def caches_latents(config: Config) -> bool:
    """Tell whether pictures are encoded once: not where colours or cuts are new in every visit."""
    subsets = (subset for dataset in config.datasets for subset in dataset.subsets)
    return config[DataOptions].caches_latents and not any(subset.augmentations.random_pixels for subset in subsets)


def open_store(config: Config, *, on_disk: bool) -> CacheStore:
    """Return the store that all runs share, or one that this run forgets."""
    return Store(tensors_folder(config)) if on_disk else MemoryStore()


def text_identity(loading: Loading, encoders: Collection[Part]) -> bytes:
    """Return what all encoded captions of this run have in common: models, precision and options."""
    config = loading.config
    models = {part: loading.hook.cache_identity(part=part, config=config) for part in encoders}
    values = {"arch": config[PluginOptions].arch, "models": models, "dtype": str(loading.dtype)}
    plugins, changes = answering(loading.hook.encode_text), text_changes(config)
    merged = {"base_weights": changes} if changes else {}
    return identity("text", {**values, **merged, "plugins": plugins, "options": config.affecting("text")})


def fill_latents(
    loading: Loading, processes: Processes, keys: PictureKeys, store: CacheStore, *, on_disk: bool
) -> tuple[LatentCache, Filled]:
    """Encode the pictures that the store lacks, and return the cache; processes share the work on a disk.

    Raises DataError naming pictures that cannot be encoded.
    """
    config, notes, found = loading.config, list[str](), keys
    bars = processes.main and config[LoggingOptions].shows_bars
    if on_disk:
        forget_damaged(store, with_foreign_latents(loading, keys, store)[0].slots(store))
        if processes.main:
            notes += import_field_latents(loading, keys, store, show=bars)
        processes.wait()
        store.refresh()
        found, said = with_foreign_latents(loading, keys, store)
        _check_agreement(processes, found.plain.tobytes() + found.mirrored.tobytes())
        notes += said
    missing, slots = found.missing(store), found.slots(store)
    hits = len(np.unique(slots[slots >= 0]))  # one entry may serve several rows
    own = [wanted for wanted in missing if not on_disk or _is_own(processes, wanted.key)]
    encode_pictures(loading, keys.index, store, own, hits=hits, show=bars)
    if on_disk:
        processes.wait()
        store.refresh()
        if processes.main and config[DataOptions].cache_format == "npz":
            notes += export_field_latents(loading, keys, store, show=bars)
    return LatentCache(store, found.slots(store)), Filled("latents", hits, len(missing), tuple(notes))


def fill_texts(
    loading: Loading,
    processes: Processes,
    index: Index,
    captions: Sequence[str],
    encoders: Collection[Part],
    store: CacheStore,
    *,
    on_disk: bool,
    apart: Collection[str] = (),
) -> tuple[TextCache, Filled]:
    """Encode the captions that the store lacks, and return the cache; processes share the work on a disk.

    Captions ``apart`` share no batch with the others.
    """
    own_identity = text_identity(loading, encoders) if on_disk else b""
    text, notes = TextCache(store, own_identity), list[str]()
    bars = processes.main and loading.config[LoggingOptions].shows_bars
    if on_disk:
        known, _ = with_foreign_texts(loading, index, text, text.lacking(captions))
        forget_damaged(store, known.slots(captions))
        if processes.main:
            notes += import_field_texts(loading, index, text, text.lacking(captions), encoders, show=bars)
        processes.wait()
        store.refresh()
        text, said = with_foreign_texts(loading, index, text, text.lacking(captions))
        _check_agreement(processes, b"".join(text.foreign[caption] for caption in sorted(text.foreign)))
        notes += said
    missing = text.lacking(captions)
    own = [one for one in missing if not on_disk or _is_own(processes, text_key(own_identity, one))]
    hits = len(captions) - len(missing)
    encode_texts(loading, store, own_identity, own, encoders, hits=hits, show=bars, apart=apart)
    if on_disk:
        processes.wait()
        store.refresh()
        if processes.main and loading.config[DataOptions].cache_format == "npz":
            notes += export_field_texts(loading, index, store, own_identity, encoders, show=bars)
    return text, Filled("captions", hits, len(missing), tuple(notes))


def _check_agreement(processes: Processes, keys: bytes) -> None:
    """Raise DataError where this process has other keys than the main one: nobody would encode what only it misses."""
    own = crc32(keys)
    if processes.agree(own) != own:
        fix = "start again, and leave the folders alone meanwhile"
        raise DataError("the .npz files beside the pictures have changed while the run was starting", fix=fix)


def _is_own(processes: Processes, key: bytes) -> bool:
    """Tell whether this process encodes the entry.

    The key decides, not its place among what is missing: a process that looks later misses less.
    """
    return int.from_bytes(key[:4], "little") % processes.count == processes.index
