"""Pictures and captions that no cache holds yet, encoded into it; the models are loaded for it and freed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
from loracore.errors import DataError
from loracore.training.assembly.phases import Loading, free_memory
from loracore.training.caches.finite import ENOUGH, captions_not_finite, latents_not_finite
from loracore.training.caches.sharing import Sharing
from loracore.training.processes import loader_threads
from loracore.training.steps.losses import latent_masks
from loracore.types import Latents, Part, TextConditioning


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

    def of(self, wanted: Sequence[Wanted]) -> _Chunk:
        """Return some of the pictures."""
        if len(wanted) == len(self.wanted):
            return self
        rows = [row for row, one in enumerate(self.wanted) if one in wanted]
        return _Chunk(wanted, self.images[rows], [self.masks[row] for row in rows])


def encode_pictures(
    loading: Loading, index: Index, store: CacheStore, wanted: Sequence[Wanted], *, hits: int, show: bool
) -> None:
    """Encode what is wanted, but for what others have stored meanwhile; also when interrupted, what is done is stored.

    ``hits`` is how many the cache held already. Raises DataError naming the pictures whose latents are not finite.
    """
    if not wanted:
        return
    store.ensure_writable()
    models = loading.models("vae")
    bad: list[int] = []
    seen = 0
    with torch.no_grad(), Sharing.of(store) as sharing, _bar("latents", hits, len(wanted), "picture", show=show) as bar:
        chunks = sharing.shuffled(_chunks(index, wanted, loading.config[DataOptions].vae_batch_size))
        lacking = filter(None, (sharing.lacking(chunk, _own_key) for chunk in chunks))
        for loaded in ahead(partial(_loaded, index), lacking, loader_threads(loading.config)):
            chunk = loaded.of(sharing.lacking(loaded.wanted, _own_key))  # others went on while it was loaded
            if chunk.wanted:
                images = chunk.images.to(loading.device)
                latents = loading.hook.encode_images(models=models, images=images, config=loading.config).to("cpu")
                bad += _append(store, chunk, latents, stored_dtype(loading.dtype))
            seen += len(loaded.wanted)
            if len(bad) >= ENOUGH:
                break
            _count(bar, hits, len(chunk.wanted))
    del models
    free_memory(loading.config)
    if bad:
        raise latents_not_finite(index, bad, loading.dtype, all_seen=seen == len(wanted))


def encode_texts(
    loading: Loading,
    store: CacheStore,
    own: bytes,
    captions: Sequence[str],
    encoders: Collection[Part],
    *,
    hits: int,
    show: bool,
    apart: Collection[str] = (),
) -> None:
    """Encode captions under the identity ``own``, but for what others have stored meanwhile.

    Those ``apart`` share no batch with the others, whose last bits may depend on what stands beside them: so these are
    the same without them. Also when interrupted, what is done is stored. Raises DataError naming captions whose
    conditioning is not finite.
    """
    if not captions:
        return
    store.ensure_writable()
    at_once = loading.config[DataOptions].text_encoder_batch_size
    models = loading.models(*encoders)
    bad: list[str] = []
    seen = 0
    with (
        torch.no_grad(),
        Sharing.of(store) as sharing,
        _bar("captions", hits, len(captions), "caption", show=show) as bar,
    ):
        for chunk in sharing.shuffled(_text_chunks(captions, apart, at_once)):
            some = sharing.lacking(chunk, partial(text_key, own))
            if some:
                said = loading.hook.encode_text(models=models, captions=some, config=loading.config).to("cpu")
                bad += _append_texts(store, own, some, said)
            seen += len(chunk)
            if len(bad) >= ENOUGH:
                break
            _count(bar, hits, len(some))
    del models
    free_memory(loading.config)
    if bad:
        raise captions_not_finite(bad, loading.dtype, all_seen=seen == len(captions))


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


def _chunks(index: Index, wanted: Iterable[Wanted], at_once: int) -> list[Sequence[Wanted]]:
    """Return what is wanted in chunks of one size, mirrored or not."""
    by_size: dict[tuple[tuple[int, int], bool], list[Wanted]] = {}
    for one in wanted:
        by_size.setdefault((index.framing(one.row).size, one.flipped), []).append(one)
    return [
        several[start : start + at_once] for several in by_size.values() for start in range(0, len(several), at_once)
    ]


def _text_chunks(captions: Sequence[str], apart: Collection[str], at_once: int) -> list[Sequence[str]]:
    """Return the captions in chunks, those ``apart`` in chunks of their own."""
    kinds = [one for one in captions if one not in apart], [one for one in captions if one in apart]
    return [kind[start : start + at_once] for kind in kinds for start in range(0, len(kind), at_once)]


def _own_key(wanted: Wanted) -> bytes:
    return wanted.key


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
        if _finite(entry):
            append(store, one.key, entry)
        else:
            bad.append(one.row)
    return bad


def _append_texts(store: CacheStore, own: bytes, captions: Sequence[str], said: TextConditioning) -> list[str]:
    """Add the conditioning of captions to the store; return those where it is not finite, which are not added."""
    bad = []
    for row, caption in enumerate(captions):
        entry = {name: tensor[row] for name, tensor in said.tensors.items()}
        if _finite(entry):
            append(store, text_key(own, caption), entry)
        else:
            bad.append(caption)
    return bad


def _finite(entry: Mapping[str, Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in entry.values())
