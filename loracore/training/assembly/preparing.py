"""The data of a run, ready to be read step by step: pictures proven whole, caches filled, length known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loracore.config.config import Config
from loracore.config.options import DataOptions, LoggingOptions, TrainingOptions, ValidationOptions
from loracore.data.cache import LatentCache, TextCache
from loracore.data.index import Index, joined_indexes
from loracore.data.loader import Loader
from loracore.data.places import tables_folder
from loracore.data.proving import broken_pictures, prove
from loracore.data.sampler import batches_per_epoch
from loracore.data.store.cache_store import CacheStore
from loracore.data.unchanging import unchanging
from loracore.data.visits import Draws
from loracore.errors import DataError
from loracore.training.assembly.phases import Loading
from loracore.training.caches.caching import (
    Filled,
    caches_latents,
    fill_latents,
    fill_texts,
    open_store,
)
from loracore.training.caches.picture_keys import PictureKeys, picture_keys
from loracore.training.processes import Processes
from loracore.training.steps.course import Course
from loracore.training.steps.length import run_length
from loracore.training.validation.held_out import HeldOut, fixed_batches, fixed_captions, validation_seed
from loracore.training.watchdogs.out_of_memory import explaining
from loracore.types import Part


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """What training reads, and what validations do."""

    course: Course
    loader: Loader
    held_out: HeldOut | None  # None: nothing is validated
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Preparing:
    """What is known before anything is encoded."""

    loading: Loading
    processes: Processes
    seed: int
    index: Index
    cached_text: Sequence[Part]  # text encoders whose outputs are encoded once
    validation: Index  # held out
    also_encoded: Sequence[str] = ()  # texts beside the captions, to be found in the text cache: prompts of previews

    @property
    def config(self) -> Config:
        return self.loading.config

    def checked(self) -> Preparing:
        """Return the same once the files of all parts have been looked at; raises as `check_models` does."""
        return replace(self, loading=self.loading.checked())


@dataclass(frozen=True, eq=False, slots=True)
class _Pictures:
    """All pictures that a run reads: those that it trains on first, behind them those that it validates with."""

    index: Index
    trained: int
    keys: PictureKeys | None = None  # None: latents are not cached

    @property
    def training(self) -> Index:
        return self.index if self.trained == len(self.index) else self.index.take(np.arange(self.trained))

    @property
    def validation(self) -> Index:
        return self.index.take(np.arange(self.trained, len(self.index)))

    def take(self, kept: NDArray[np.bool_]) -> _Pictures:
        keys = None if self.keys is None else self.keys.take(kept)
        return _Pictures(self.index.take(kept), int(kept[: self.trained].sum()), keys)


@dataclass(frozen=True, eq=False, slots=True)
class _Draws:
    """What is drawn of captions and pictures."""

    training: Draws
    validation: Draws


def prepare(preparing: Preparing) -> Prepared:
    """Prove pictures whole, then encode captions, then pictures, as far as the options allow.

    Raises DataError for pictures that cannot be decoded or encoded, and for a disk that cannot hold the caches.
    """
    config, data = preparing.config, preparing.config[DataOptions]
    cached = caches_latents(config)
    to_disk = cached and data.cache_latents_to_disk
    text_to_disk = bool(preparing.cached_text) and data.cache_text_encoder_outputs_to_disk
    store = open_store(config, on_disk=to_disk)
    text_store = store if to_disk and text_to_disk else open_store(config, on_disk=text_to_disk)
    preparing, pictures, notes = _whole_pictures(preparing, store if cached else None, to_disk=to_disk)
    course = _course(preparing, pictures.training)
    draws = _draws(preparing, course.length.steps)
    filled: list[Filled] = []
    text = latents = None
    if preparing.cached_text:
        captions, beside = _texts(preparing, pictures, course, draws)
        with explaining(config, "encoding captions"):
            text, came = fill_texts(
                preparing.loading,
                preparing.processes,
                pictures.index,
                sorted({*captions, *beside}),
                preparing.cached_text,
                text_store,
                on_disk=text_to_disk,
                apart=beside,
            )
        filled += [came] if text_to_disk else []
    if pictures.keys is not None:
        with explaining(config, "encoding pictures"):
            latents, came = fill_latents(preparing.loading, preparing.processes, pictures.keys, store, on_disk=to_disk)
        filled += [came] if to_disk else []
    stores = [store] if text_store is store else [store, text_store]
    told = (*notes, *(note for one in stores for note in one.notes), *_told(filled))
    trained = _loader(config, course.index, draws.training, _rows(latents, slice(pictures.trained)), text)
    held = _rows(latents, slice(pictures.trained, None))
    held_out = _held_out(preparing, _loader(config, pictures.validation, draws.validation, held, text))
    return Prepared(course, trained, held_out, told)


def _told(filled: Sequence[Filled]) -> tuple[str, ...]:
    """Return what is said of the caches on disk."""
    return (*map(str, filled), *(note for came in filled for note in came.notes))


def _texts(
    preparing: Preparing, pictures: _Pictures, course: Course, draws: _Draws
) -> tuple[frozenset[str], frozenset[str]]:
    """Return every text that is read from the cache: what is trained with, and what is read beside that alone."""
    captions = frozenset(course.captions(draws.training))
    held = fixed_captions(pictures.validation, draws.validation)
    return captions, frozenset((*held, *preparing.also_encoded)) - captions


def _draws(preparing: Preparing, steps: int) -> _Draws:
    variants = preparing.config[DataOptions].caption_variants if preparing.cached_text else None
    training = Draws(preparing.seed, steps, variants)
    return _Draws(training, replace(training, seed=validation_seed(preparing.config, preparing.seed)))


def _loader(config: Config, index: Index, draws: Draws, latents: LatentCache | None, text: TextCache | None) -> Loader:
    multipliers = [dataset.network_multiplier for dataset in config.datasets]
    return Loader(index, draws, multipliers, latents, text)


def _rows(latents: LatentCache | None, rows: slice) -> LatentCache | None:
    """Return the latents of some pictures."""
    return None if latents is None else LatentCache(latents.store, latents.slots[rows])


def _held_out(preparing: Preparing, loader: Loader) -> HeldOut | None:
    if not len(loader.index):
        return None
    seed = validation_seed(preparing.config, preparing.seed)
    batches = fixed_batches(loader.index, preparing.config, seed, preparing.processes.count)
    return HeldOut(loader, batches, seed)


def _course(preparing: Preparing, index: Index) -> Course:
    training, count = preparing.config[TrainingOptions], preparing.processes.count
    sizes = [dataset.batch_size for dataset in preparing.config.datasets]
    length = run_length(batches_per_epoch(index, sizes, count), training)
    return Course(index, sizes, preparing.seed, count, training.gradient_accumulation_steps, length)


def _wanted_pictures(preparing: Preparing) -> _Pictures:
    """Return the pictures that are used; what is held out and never validated is not."""
    training, held = preparing.index, preparing.validation
    if not len(held) or not preparing.config[ValidationOptions].validates:
        return _Pictures(training, len(training))
    return _Pictures(joined_indexes(training, unchanging(held)), len(training))


def _all_pictures(
    preparing: Preparing, store: CacheStore | None, *, to_disk: bool
) -> tuple[Preparing, _Pictures, NDArray[np.int64]]:
    """Return the pictures that are used, and the rows of those that are read: a cached one is not.

    If there are any, the files of all parts have been looked at: by the ``Preparing`` that is returned.
    """
    pictures = _wanted_pictures(preparing)
    if store is None or store.usage()[0] < len(pictures.index):
        preparing = preparing.checked()  # before the pictures' bytes are read for their keys
    if store is None:
        return preparing, pictures, np.arange(len(pictures.index))
    keys = picture_keys(preparing.loading, pictures.index, on_disk=to_disk)
    rows = keys.lacking(store)
    # with digests, which must not be lost when its tables are kept again
    pictures = replace(pictures, index=keys.index, keys=keys)
    return preparing.checked() if len(rows) else preparing, pictures, rows


def _whole_pictures(
    preparing: Preparing, store: CacheStore | None, *, to_disk: bool
) -> tuple[Preparing, _Pictures, tuple[str, ...]]:
    """Decode every picture that will be read, and leave out what is broken, if asked to."""
    preparing, pictures, rows = _all_pictures(preparing, store, to_disk=to_disk)
    config, index = preparing.config, pictures.index
    bars = preparing.processes.main and config[LoggingOptions].shows_bars
    proof = prove([index.take(rows)], tables_folder(config), show=bars)
    broken = proof.broken_rows(index)
    if not broken:
        return preparing, pictures, ()
    if config[DataOptions].on_bad_image == "error":
        raise DataError.of(dict.fromkeys(broken_pictures(index, proof)))  # a picture of two data sets once
    kept: NDArray[np.bool_] = np.ones(len(index), dtype=np.bool_)
    kept[list(broken)] = False
    if not kept[: pictures.trained].any():
        raise DataError("no picture can be decoded", where=str(index.path(0).parent))
    notes = tuple(dict.fromkeys(f"left out: {index.path(row)}: {reason}" for row, reason in sorted(broken.items())))
    return preparing, pictures.take(kept), notes
