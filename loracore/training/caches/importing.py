"""What the field's ``.npz`` files beside pictures hold of a run's caches, taken over before anything is encoded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from loracore.data.cache import TextCache, append, latents_entry
from loracore.data.cache_keys import text_key
from loracore.data.index import Index
from loracore.data.npz.field_files import (
    Origin,
    WantedLatents,
    latents_origin,
    latents_path,
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
from loracore.data.npz.foreign_keys import foreign_key
from loracore.data.npz.npz_files import DamagedNpzError
from loracore.data.store.cache_store import CacheStore
from loracore.training.caches.encoding import Wanted, stored_dtype
from loracore.training.caches.unrecorded import unrecorded_note, unrecorded_options
from loracore.training.steps.losses import latent_masks
from loracore.types import FieldFiles, Latents, LatentsFile, Part, TextFile

if TYPE_CHECKING:
    from loracore.training.assembly.phases import Loading
    from loracore.training.caches.picture_keys import PictureKeys

Item = TypeVar("Item")
#: Who wrote a file, and what it holds as the store has it.
_Read = tuple[Origin, Mapping[str, Tensor]]

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
        every = ((_path(index, row, layout), index.path(row)) for row in range(len(index)))
        return cls(keys, layout, shared_files(every))

    def wanted(self, row: int) -> WantedLatents:
        """Return what a picture's file must hold."""
        keys, index = self.keys, self.keys.index
        masked = index.source(row).subset.alpha_mask
        return WantedLatents(index.framing(row), bool(keys.flips[row]), masked, keys.plain[row].tobytes())

    def origin(self, path: Path, row: int) -> Origin | None:
        """Tell who wrote a file that can be used for a picture, None for any other. Raises DamagedNpzError."""
        index = self.keys.index
        subset = index.source(row).subset
        if subset.conditioning_data_dir is not None:  # the masks are not in it
            return None
        found = latents_origin(path, self.layout, self.wanted(row))
        if found is not Origin.FOREIGN:
            return found
        as_usual = subset.resize_interpolation is None and is_upright(index.path(row))
        return found if as_usual and path not in self.shared and newer_than_picture(path, index, row) else None


@dataclass(frozen=True, eq=False, slots=True)
class _Offered:
    """A file that may hold something that is missing."""

    path: Path
    own: bytes  # the key of our own entry
    foreign: bytes  # the key that it has as another tool's
    read: Callable[[], _Read | None]  # None: it cannot be used. Raises DamagedNpzError


def import_field_latents(loading: Loading, keys: PictureKeys, store: CacheStore, *, show: bool) -> tuple[str, ...]:
    """Add to the store what valid files beside the pictures hold of what is missing, and return what came of it.

    A file holds one draw of the VAE: it becomes a mean without any deviation. ``with_foreign_latents`` finds what
    another tool has made.
    """
    files: FieldFiles | None = loading.hook.field_files(config=loading.config)
    candidates = [] if files is None else list(_unread(store, _candidates(keys, store, files.latents)))
    if files is None or not candidates:
        return ()
    pictures, dtype = FieldPictures.of(keys, files.latents), stored_dtype(loading.dtype)
    offered = (
        _Offered(path, one.key, foreign, partial(_latents, pictures, one, path, dtype))
        for one, path, foreign in _shown(candidates, "latents beside the pictures", show=show)
    )
    return _taken_over(store, offered, "latents")


def with_foreign_latents(loading: Loading, keys: PictureKeys, store: CacheStore) -> tuple[PictureKeys, tuple[str, ...]]:
    """Return the keys with those of other tools' latents where the store has no own ones, and what is to be said."""
    files: FieldFiles | None = loading.hook.field_files(config=loading.config)
    candidates = [] if files is None else list(_candidates(keys, store, files.latents))
    columns = keys.plain.copy(), keys.mirrored.copy()
    used = set[bytes]()
    for one, path in candidates:
        foreign = foreign_key(one.key, path)
        if foreign is not None and store.slot(foreign) >= 0:
            columns[one.flipped][one.row] = np.frombuffer(foreign, dtype=np.uint8)
            used.add(foreign)
    if not used:
        return keys, ()
    return replace(keys, plain=columns[0], mirrored=columns[1]), (_foreign_note("latents", "VAE", len(used)),)


def import_field_texts(
    loading: Loading,
    index: Index,
    text: TextCache,
    missing: Collection[str],
    encoders: Collection[Part],
    *,
    show: bool,
) -> tuple[str, ...]:
    """Add to the store what valid files beside the pictures hold of missing captions, and return what came of it.

    ``with_foreign_texts`` finds what another tool has made, unless options change what such files know nothing of.
    """
    files: FieldFiles | None = loading.hook.field_files(config=loading.config) if missing else None
    if files is None:
        return ()
    lacking, every = frozenset(missing), list(plain_captions(index, files.text))
    candidates = [found for found in every if found[1] in lacking]
    if not candidates or loaded_encoders(loading, encoders) != files.text.encoders:
        return ()
    shared = shared_files((path, caption) for path, caption, _ in every)
    unrecorded, aside = unrecorded_options(loading.config, files.text), set[Path]()

    def read(path: Path, own: bytes, row: int) -> _Read | None:
        origin = usable_text(path, files.text, own, index, row, shared)
        if origin is Origin.FOREIGN and unrecorded:
            aside.add(path)
            return None
        entry = None if origin is None else _text_entry(path, files.text, loading.dtype)
        return None if origin is None or entry is None else (origin, entry)

    offered = (
        _Offered(path, own, foreign, partial(read, path, own, row))
        for path, caption, row in _shown(candidates, "captions beside the pictures", show=show)
        if (foreign := foreign_key(own := text_key(text.identity, caption), path)) is not None
        and text.store.slot(foreign) < 0
    )
    notes = _taken_over(text.store, offered, "captions")
    return (*notes, *unrecorded_note(len(aside), unrecorded))


def with_foreign_texts(
    loading: Loading, index: Index, text: TextCache, missing: Collection[str]
) -> tuple[TextCache, tuple[str, ...]]:
    """Return the cache with the keys of other tools' captions where the store has no own ones, and what is to be said.

    Of several files of one caption that of the first picture is taken.
    """
    files: FieldFiles | None = loading.hook.field_files(config=loading.config) if missing else None
    if files is None or unrecorded_options(loading.config, files.text):
        return text, ()
    lacking, used = frozenset(missing), dict[str, bytes]()
    for path, caption, _ in plain_captions(index, files.text):
        if caption in lacking and caption not in used:
            foreign = foreign_key(text_key(text.identity, caption), path)
            if foreign is not None and text.store.slot(foreign) >= 0:
                used[caption] = foreign
    if not used:
        return text, ()
    return replace(text, foreign=used), (_foreign_note("captions", "text encoders", len(used)),)


def _taken_over(store: CacheStore, offered: Iterable[_Offered], what: str) -> tuple[str, ...]:
    """Add what the files hold to the store, each entry once, and return what is to be said of it."""
    ours, done = 0, set[bytes]()
    damaged: dict[Path, None] = {}
    for one in offered:
        if {one.own, one.foreign} & done:
            continue
        try:
            found = one.read()
        except DamagedNpzError:
            damaged[one.path] = None
            continue
        if found is not None:
            origin, entry = found
            key = one.own if origin is Origin.OURS else one.foreign
            ours += origin is Origin.OURS
            done.add(key)
            append(store, key, entry)
    store.flush()
    return (*_ours_note(what, ours), *damaged_note(damaged))


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


def loaded_encoders(loading: Loading, encoders: Collection[Part]) -> Mapping[Part, int]:
    """Return the widths of the text encoders that the model has of those that are named; no weights are read."""
    models = replace(loading, device=torch.device("meta"), adapt=None).models(*encoders)
    return {part: _width(module) for part, module in models.text.items()}


def damaged_note(damaged: Collection[Path]) -> tuple[str, ...]:
    """Return what is said of files that cannot be read."""
    if not damaged:
        return ()
    named = ", ".join(str(path) for path in list(damaged)[:_NAMED])
    more = ", …" if len(damaged) > _NAMED else ""
    return (f"{len(damaged)} damaged .npz files beside the pictures are left aside: {named}{more}",)


def _candidates(keys: PictureKeys, store: CacheStore, layout: LatentsFile) -> Iterator[tuple[Wanted, Path]]:
    """Give what the store lacks, row by row, where there is a file; no folder is looked at when it lacks nothing."""
    there, index, slots = presence(), keys.index, keys.slots(store)
    for flipped, column in enumerate((keys.plain, keys.mirrored)):
        lacking = (slots[:, flipped] < 0) & (keys.flips if flipped else True)
        for row in np.flatnonzero(lacking).tolist():
            path = _path(index, row, layout)
            if there(path):
                yield Wanted(row, bool(flipped), column[row].tobytes()), path


def _unread(store: CacheStore, candidates: Iterable[tuple[Wanted, Path]]) -> Iterator[tuple[Wanted, Path, bytes]]:
    """Give those whose file, as it is now, has no entry yet, with the key that it would get as another tool's."""
    for one, path in candidates:
        foreign = foreign_key(one.key, path)
        if foreign is not None and store.slot(foreign) < 0:
            yield one, path, foreign


def _path(index: Index, row: int, layout: LatentsFile) -> Path:
    return latents_path(layout, index.path(row), index.framing(row).original)


def _width(module: nn.Module) -> int:
    """Return the width of a text encoder's token embeddings, its first table."""
    return next((table.embedding_dim for table in module.modules() if isinstance(table, nn.Embedding)), 0)


def _latents(pictures: FieldPictures, one: Wanted, path: Path, dtype: torch.dtype) -> _Read | None:
    """Return who wrote a file, and its latents as the store has them; None where it cannot be used."""
    origin = pictures.origin(path, one.row)
    if origin is None:
        return None
    entry = _latents_entry(path, pictures.layout, pictures.wanted(one.row), dtype, flipped=one.flipped)
    return None if entry is None else (origin, entry)


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


def _ours_note(what: str, count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (f"{count} {what} were read from .npz files beside the pictures, as loracore wrote them",)


def _foreign_note(what: str, model: str, count: int) -> str:
    unknown = f"which {model} made them is not recorded in such files"
    return f"{count} {what} are those of .npz files beside the pictures; {unknown}"


def _shown(items: Sequence[Item], name: str, *, show: bool) -> Iterable[Item]:
    bar: tqdm[NoReturn] | Iterable[Item] = tqdm(items, desc=name, unit="file", disable=not show)
    return bar
