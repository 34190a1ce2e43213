"""What the field's ``.npz`` files beside pictures hold of a run's caches, taken over before anything is encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from loracore.data.cache import append, latents_entry
from loracore.data.cache_keys import text_key
from loracore.data.index import Index
from loracore.data.npz.field_files import (
    Origin,
    WantedLatents,
    latents_origin,
    latents_paths,
    read_latents,
    read_text,
    text_origin,
    text_path,
)
from loracore.data.npz.field_places import (
    is_upright,
    newer_than_caption,
    newer_than_picture,
    presence,
    shared_files,
    spoken_as_written,
)
from loracore.data.npz.npz_files import DamagedNpzError
from loracore.data.store.cache_store import CacheStore
from loracore.training.encoding import Wanted, stored_dtype
from loracore.training.losses import latent_masks
from loracore.types import FieldFiles, Latents, LatentsFile, Part, TextFile

if TYPE_CHECKING:
    from loracore.training.phases import Loading
    from loracore.training.picture_keys import PictureKeys

Item = TypeVar("Item")

#: Of latents whose draw is already made: the deviation is 1e-13.
_DRAWN = -60.0
_NAMED = 3  # damaged files: more would say the same


@dataclass(frozen=True, eq=False, slots=True)
class FieldPictures:
    """The files of latents beside a run's pictures."""

    keys: PictureKeys
    layout: LatentsFile
    shared: frozenset[Path]

    @classmethod
    def of(cls, keys: PictureKeys, layout: LatentsFile) -> FieldPictures:
        """Go through all pictures for those whose files would have the same name."""
        index = keys.index
        every = ((path, index.path(row)) for row in range(len(index)) for path in _paths(index, row, layout))
        return cls(keys, layout, shared_files(every))

    def wanted(self, row: int) -> WantedLatents:
        """Return what a picture's file must hold."""
        keys, index = self.keys, self.keys.index
        masked = index.source(row).subset.alpha_mask
        return WantedLatents(index.framing(row), bool(keys.flips[row]), masked, keys.plain[row].tobytes())

    def origin(self, path: Path, row: int) -> Origin | None:
        """Tell who wrote a file that can be used for a picture, None for any other. Raises DamagedNpzError."""
        index = self.keys.index
        if index.source(row).subset.conditioning_data_dir is not None:  # the masks are not in it
            return None
        found = latents_origin(path, self.layout, self.wanted(row))
        if found is not Origin.FOREIGN:
            return found
        trusted = path not in self.shared and newer_than_picture(path, index, row) and is_upright(index.path(row))
        return found if trusted else None


def import_field_latents(
    loading: Loading, keys: PictureKeys, store: CacheStore, missing: Sequence[Wanted], *, show: bool
) -> tuple[str, ...]:
    """Add to the store what valid files beside the pictures hold of what is missing, and return what came of it.

    A file holds one draw of the VAE: it becomes a mean without any deviation.
    """
    files: FieldFiles | None = loading.hook.field_files(config=loading.config)
    if files is None:
        return ()
    there = presence()
    named = ((one, path) for one in missing for path in _paths(keys.index, one.row, files.latents))
    candidates = [(one, path) for one, path in named if there(path)]
    if not candidates:
        return ()
    pictures, dtype = FieldPictures.of(keys, files.latents), stored_dtype(loading.dtype)
    read: Counter[Origin] = Counter()
    damaged: dict[Path, None] = {}
    done: set[bytes] = set()
    for one, path in _shown(candidates, "latents beside the pictures", show=show):
        try:
            origin = None if one.key in done else _take_latents(pictures, store, one, path, dtype)
        except DamagedNpzError:
            damaged[path] = None
            continue
        if origin is not None:
            read[origin] += 1
            done.add(one.key)
    store.flush()
    return (*_read_notes("latents", "VAE", read), *damaged_note(damaged))


def import_field_texts(
    loading: Loading,
    index: Index,
    store: CacheStore,
    own: bytes,
    missing: Collection[str],
    encoders: Collection[Part],
    *,
    show: bool,
) -> tuple[str, ...]:
    """Add to the store what valid files beside the pictures hold of missing captions, and return what came of it.

    ``own`` is the identity of the run's encoded captions, as in ``text_key``.
    """
    files: FieldFiles | None = loading.hook.field_files(config=loading.config)
    if files is None:
        return ()
    lacking, every = frozenset(missing), list(plain_captions(index, files.text))
    candidates = [found for found in every if found[1] in lacking]
    if not candidates or loaded_encoders(loading, encoders) != files.text.encoders:
        return ()
    shared = shared_files((path, caption) for path, caption, _ in every)
    read: Counter[Origin] = Counter()
    damaged: dict[Path, None] = {}
    done: set[str] = set()
    for path, caption, row in _shown(candidates, "captions beside the pictures", show=show):
        key = text_key(own, caption)
        try:
            origin = usable_text(path, files.text, key, index, row, shared)
            tensors = None if origin is None or caption in done else _text_entry(path, files.text, loading.dtype)
        except DamagedNpzError:
            damaged[path] = None
            continue
        if origin is not None and tensors is not None:
            append(store, key, tensors)
            read[origin] += 1
            done.add(caption)
    store.flush()
    return (*_read_notes("captions", "text encoders", read), *damaged_note(damaged))


def plain_captions(index: Index, layout: TextFile, *, present: bool = True) -> Iterator[tuple[Path, str, int]]:
    """Give file, caption and row of every picture whose caption is encoded as it is written.

    ``present``: only of pictures that have such a file.
    """
    there = presence() if present else None
    for row in range(len(index)):
        path = text_path(layout, index.path(row))
        if there is not None and not there(path):
            continue
        caption = index.caption(row)
        if spoken_as_written(caption, index.source(row).subset.captions):
            yield path, caption, row


def usable_text(
    path: Path, layout: TextFile, key: bytes, index: Index, row: int, shared: Collection[Path]
) -> Origin | None:
    """Tell who wrote a file that can be used for a picture's caption, None for any other. Raises DamagedNpzError."""
    found = text_origin(path, layout, key)
    if found is not Origin.FOREIGN:
        return found
    current = newer_than_caption(path, index, row) and newer_than_picture(path, index, row)
    return found if current and path not in shared else None


def loaded_encoders(loading: Loading, encoders: Collection[Part]) -> tuple[Part, ...]:
    """Return the text encoders that the model has of those that are named; no weights are read."""
    return tuple(replace(loading, device=torch.device("meta"), adapt=None).models(*encoders).text)


def damaged_note(damaged: Collection[Path]) -> tuple[str, ...]:
    """Return what is said of files that cannot be read."""
    if not damaged:
        return ()
    named = ", ".join(str(path) for path in list(damaged)[:_NAMED])
    more = ", …" if len(damaged) > _NAMED else ""
    return (f"{len(damaged)} damaged .npz files beside the pictures are left aside: {named}{more}",)


def _paths(index: Index, row: int, layout: LatentsFile) -> tuple[Path, ...]:
    return latents_paths(layout, index.path(row), index.framing(row).original)


def _take_latents(
    pictures: FieldPictures, store: CacheStore, one: Wanted, path: Path, dtype: torch.dtype
) -> Origin | None:
    """Add a file's latents to the store, if it is valid; tell who wrote it."""
    origin = pictures.origin(path, one.row)
    if origin is None:
        return None
    entry = _latents_entry(path, pictures.layout, pictures.wanted(one.row), dtype, flipped=one.flipped)
    if entry is None:
        return None
    append(store, one.key, entry)
    return origin


def _latents_entry(
    path: Path, layout: LatentsFile, wanted: WantedLatents, dtype: torch.dtype, *, flipped: bool
) -> Mapping[str, Tensor] | None:
    """Return a file's latents as the store has them, None where a number cannot be."""
    found = read_latents(path, layout, wanted)
    if found is None:
        return None
    raw = found.mirrored if flipped else found.plain
    assert raw is not None
    mean = (torch.from_numpy(raw)[None] - layout.shift) * layout.scale
    mask = None if found.alpha is None else torch.from_numpy(found.alpha)[None, None]
    if mask is not None:
        mask = latent_masks(mask.flip(-1) if flipped else mask, *mean.shape[-2:])[0]
    return _finite(latents_entry(Latents(mean, torch.full_like(mean, _DRAWN)), 0, mask, dtype))


def _text_entry(path: Path, layout: TextFile, dtype: torch.dtype) -> Mapping[str, Tensor] | None:
    found = read_text(path, layout)
    return None if found is None else _finite({name: torch.from_numpy(one).to(dtype) for name, one in found.items()})


def _finite(entry: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    """Return an entry, None where its precision does not hold a number."""
    return entry if all(bool(tensor.isfinite().all()) for tensor in entry.values()) else None


def _read_notes(what: str, model: str, read: Mapping[Origin, int]) -> Iterator[str]:
    if read.get(Origin.OURS):
        yield f"{read[Origin.OURS]} {what} were read from .npz files beside the pictures, as loracore wrote them"
    if read.get(Origin.FOREIGN):
        unknown = f"which {model} made them is not recorded in such files"
        yield f"{read[Origin.FOREIGN]} {what} were read from .npz files beside the pictures; {unknown}"


def _shown(items: Sequence[Item], name: str, *, show: bool) -> Iterable[Item]:
    bar: tqdm[NoReturn] | Iterable[Item] = tqdm(items, desc=name, unit="file", disable=not show)
    return bar
