"""Pictures and captions that no cache holds yet, encoded into it; the models are loaded for it and freed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

from loracore.config.options import DataOptions
from loracore.data.cache import append, latents_entry
from loracore.data.cache_keys import text_key
from loracore.data.contents import changed_picture
from loracore.data.index import Index
from loracore.data.loader import ahead, load_images
from loracore.data.store.cache_store import CacheStore
from loracore.errors import DataError, LoracoreError, Problem
from loracore.training.losses import latent_masks
from loracore.training.phases import Loading, free_memory
from loracore.training.processes import loader_threads
from loracore.types import Latents, Part, TextConditioning

_SHARED = 2.0  # seconds after which what is encoded is stored, and it is looked for what other processes have stored
_ENOUGH = 20  # pictures whose latents are not finite: more would say the same


@dataclass(frozen=True, slots=True)
class Wanted:
    """One picture that has to be encoded."""

    row: int
    flipped: bool
    key: bytes


@dataclass(frozen=True, eq=False, slots=True)
class _Chunk:
    """Pictures of one size, loaded."""

    wanted: Sequence[Wanted]
    images: Tensor  # B,3,H,W
    masks: Sequence[Tensor | None]  # 1,H,W


def encode_pictures(
    loading: Loading, index: Index, store: CacheStore, wanted: Sequence[Wanted], *, hits: int, show: bool
) -> None:
    """Encode what is wanted, but for what others have stored meanwhile; also when interrupted, what is done is stored.

    ``hits`` is how many the cache held already. Raises DataError naming the pictures whose latents are not finite.
    """
    if not wanted:
        return
    models = loading.models("vae")
    bad: list[int] = []
    with torch.no_grad(), _flushing(store), _bar("latents", hits, len(wanted), "picture", show=show) as bar:
        chunks = _chunks(index, store, wanted, loading.config[DataOptions].vae_batch_size)
        for chunk in ahead(partial(_loaded, index), chunks, loader_threads(loading.config)):
            images = chunk.images.to(loading.device)
            latents = loading.hook.encode_images(models=models, images=images, config=loading.config).to("cpu")
            bad += _append(store, chunk, latents, stored_dtype(loading.dtype))
            if len(bad) >= _ENOUGH:
                break
            _count(bar, hits, len(chunk.wanted))
    del models
    free_memory()
    if bad:
        raise _not_finite(index, bad, halved=loading.dtype != torch.float32)


def encode_texts(
    loading: Loading,
    store: CacheStore,
    own: bytes,
    captions: Sequence[str],
    encoders: Collection[Part],
    *,
    hits: int,
    show: bool,
) -> None:
    """Encode captions under the identity ``own``; also when interrupted, what is done is stored."""
    if not captions:
        return
    at_once = loading.config[DataOptions].text_encoder_batch_size
    models = loading.models(*encoders)
    with torch.no_grad(), _flushing(store), _bar("captions", hits, len(captions), "caption", show=show) as bar:
        for start in range(0, len(captions), at_once):
            some = captions[start : start + at_once]
            said = loading.hook.encode_text(models=models, captions=some, config=loading.config).to("cpu")
            for row, caption in enumerate(some):
                append(store, text_key(own, caption), _row(said, row))
            _count(bar, hits, len(some))
    del models
    free_memory()


def stored_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the precision of cached latents: float16 in runs of half precision, whose arithmetic has no more.

    Not bfloat16: its 8 bits would be seen in the target, and scaled latents never need its range.
    """
    return torch.float32 if dtype == torch.float32 else torch.float16


def _bar(name: str, hits: int, missing: int, unit: str, *, show: bool) -> tqdm[NoReturn]:
    return tqdm(total=hits + missing, initial=hits, desc=name, unit=unit, disable=not show)


def _count(bar: tqdm[NoReturn], hits: int, new: int) -> None:
    bar.update(new)
    bar.set_postfix({"hits": hits, "new": int(bar.n) - hits})


@contextmanager
def _flushing(store: CacheStore) -> Iterator[None]:
    """Store what was appended, whatever ends the work."""
    try:
        yield
    finally:
        store.flush()


def _chunks(index: Index, store: CacheStore, wanted: Iterable[Wanted], at_once: int) -> Iterator[Sequence[Wanted]]:
    """Give what is still wanted in chunks of one size, mirrored or not, leaving out what others have added."""
    by_size: dict[tuple[tuple[int, int], bool], list[Wanted]] = {}
    for one in wanted:
        by_size.setdefault((index.framing(one.row).size, one.flipped), []).append(one)
    looked = time.monotonic()
    for several in by_size.values():
        for start in range(0, len(several), at_once):
            if time.monotonic() - looked > _SHARED:
                store.flush()
                store.refresh()
                looked = time.monotonic()
            chunk = [one for one in several[start : start + at_once] if store.slot(one.key) < 0]
            if chunk:
                yield chunk


def _loaded(index: Index, chunk: Sequence[Wanted]) -> _Chunk:
    images, masks = load_images((index.picture(one.row) for one in chunk), flipped=chunk[0].flipped)
    for one in chunk:  # after loading: the key must stand for the bytes that were read
        changed = changed_picture(index, one.row)
        if changed is not None:
            message = "the picture has changed while it was being encoded"
            raise DataError(message, where=str(changed), fix="start again, and leave the pictures alone meanwhile")
    return _Chunk(chunk, images, masks)


def _append(store: CacheStore, chunk: _Chunk, latents: Latents, dtype: torch.dtype) -> list[int]:
    """Add a chunk's latents to the store; return the rows whose latents are not finite, which are not added."""
    bad = []
    for row, (one, mask) in enumerate(zip(chunk.wanted, chunk.masks, strict=True)):
        small = None if mask is None else latent_masks(mask[None], *latents.mean.shape[-2:])[0]
        entry = latents_entry(latents, row, small, dtype)
        if all(tensor.isfinite().all() for tensor in entry.values()):
            append(store, one.key, entry)
        else:
            bad.append(one.row)
    return bad


def _row(conditioning: TextConditioning, row: int) -> Mapping[str, Tensor]:
    return {name: tensor[row] for name, tensor in conditioning.tensors.items()}


def _not_finite(index: Index, rows: Iterable[int], *, halved: bool) -> LoracoreError:
    fix = "the VAE's file may be damaged"
    if halved:
        fix = "the VAE overflows in half precision: give --no_half_vae, or --mixed_precision no"
    return DataError.of(
        Problem("the picture's latents are not finite", str(index.path(row)), fix) for row in sorted(set(rows))
    )
