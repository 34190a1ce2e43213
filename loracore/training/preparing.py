"""The data of a run, ready to be read step by step: pictures proven whole, caches filled, length known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loracore.config.config import Config
from loracore.config.options import DataOptions, TrainingOptions
from loracore.data.index import Index
from loracore.data.loader import Loader
from loracore.data.places import tables_folder
from loracore.data.proving import broken_pictures, prove
from loracore.data.sampler import batches_per_epoch
from loracore.data.store.cache_store import CacheStore
from loracore.data.visits import Draws
from loracore.errors import DataError
from loracore.training.caches.caching import (
    Filled,
    caches_latents,
    fill_latents,
    fill_texts,
    open_store,
)
from loracore.training.caches.picture_keys import PictureKeys, picture_keys
from loracore.training.course import Course
from loracore.training.length import run_length
from loracore.training.phases import Loading
from loracore.training.processes import Processes
from loracore.types import Part


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """What training reads."""

    course: Course
    loader: Loader
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Preparing:
    """What is known before anything is encoded."""

    loading: Loading
    processes: Processes
    seed: int
    index: Index
    cached_text: Sequence[Part]  # text encoders whose outputs are encoded once

    @property
    def config(self) -> Config:
        return self.loading.config


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
    index, keys, notes = _whole_pictures(preparing, store if cached else None, to_disk=to_disk)
    course = _course(preparing, index)
    variants = data.caption_variants if preparing.cached_text else None
    draws = Draws(preparing.seed, course.length.steps, variants)
    filled: list[Filled] = []
    text = latents = None
    if preparing.cached_text:
        text, came = fill_texts(
            preparing.loading,
            preparing.processes,
            index,
            course.captions(draws),
            preparing.cached_text,
            text_store,
            on_disk=text_to_disk,
        )
        filled += [came] if text_to_disk else []
    if keys is not None:
        latents, came = fill_latents(preparing.loading, preparing.processes, keys, store, on_disk=to_disk)
        filled += [came] if to_disk else []
    multipliers = [dataset.network_multiplier for dataset in config.datasets]
    told = (
        *notes,
        *store.notes,
        *(text_store.notes if text_store is not store else ()),
        *map(str, filled),
        *(note for came in filled for note in came.notes),
    )
    return Prepared(course, Loader(index, draws, multipliers, latents, text), told)


def _course(preparing: Preparing, index: Index) -> Course:
    training, count = preparing.config[TrainingOptions], preparing.processes.count
    sizes = [dataset.batch_size for dataset in preparing.config.datasets]
    length = run_length(batches_per_epoch(index, sizes, count), training)
    return Course(index, sizes, preparing.seed, count, training.gradient_accumulation_steps, length)


def _whole_pictures(
    preparing: Preparing, store: CacheStore | None, *, to_disk: bool
) -> tuple[Index, PictureKeys | None, tuple[str, ...]]:
    """Decode every picture that will be read, and leave out what is broken, if asked to; a cached one is not read."""
    index, config = preparing.index, preparing.config
    keys, rows = None, np.arange(len(index))
    if store is not None:
        keys = picture_keys(preparing.loading, index, on_disk=to_disk)
        index = keys.index  # with digests, which must not be lost when its tables are kept again
        rows = keys.lacking(store)
    proof = prove([index.take(rows)], tables_folder(config), show=preparing.processes.main)
    broken = proof.broken_rows(index)
    if not broken:
        return index, keys, ()
    if config[DataOptions].on_bad_image == "error":
        raise DataError.of(dict.fromkeys(broken_pictures(index, proof)))  # a picture of two data sets once
    kept: NDArray[np.bool_] = np.ones(len(index), dtype=np.bool_)
    kept[list(broken)] = False
    if not kept.any():
        raise DataError("no picture can be decoded", where=str(index.path(0).parent))
    notes = tuple(dict.fromkeys(f"left out: {index.path(row)}: {reason}" for row, reason in sorted(broken.items())))
    return index.take(kept), None if keys is None else keys.take(kept), notes
