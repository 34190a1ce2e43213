"""A run's caches written as the field's ``.npz`` files beside the pictures, for tools that want them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from loracore.data.cache_keys import text_key
from loracore.data.index import Index
from loracore.data.npz.field_files import (
    FieldLatents,
    Floats,
    latents_arrays,
    latents_of_other_sizes,
    latents_path,
    latents_size,
    text_arrays,
)
from loracore.data.npz.field_places import is_upright, newer_than_picture, shared_files
from loracore.data.npz.npz_files import Arrays, DamagedNpzError, remove_abandoned, write_npz
from loracore.data.pictures.images import load_pixels
from loracore.data.store.cache_store import CacheStore
from loracore.data.store.tensors import to_tensors
from loracore.errors import DataError
from loracore.training.caches.importing import FieldPictures, loaded_encoders, plain_captions, usable_text
from loracore.types import FieldFiles, LatentsFile, Part, TextFile

if TYPE_CHECKING:
    from loracore.training.assembly.phases import Loading
    from loracore.training.caches.picture_keys import PictureKeys

_NAMED = 3  # pictures: more would say the same
_NONE = "cache_format: no .npz files are written, there are none for this architecture"


class _Came(Enum):
    """What came of writing a file."""

    WRITTEN = "{} .npz files of {} were written beside the pictures"
    TURNED = "{} pictures get no .npz files of {}: EXIF data turns them, and other tools take them as they are stored"
    OTHER_SIZES = "{} .npz files of {} are not written: the model's encoders are of other sizes than they tell"
    NOT_ENCODED = "{} .npz files of {} are not written: this run has not encoded them"


@dataclass(frozen=True, eq=False, slots=True)
class _Shelf:
    """What is to be written, by file, and what is not."""

    rows: Mapping[Path, Sequence[int]]
    notes: tuple[str, ...]


def export_field_latents(loading: Loading, keys: PictureKeys, store: CacheStore, *, show: bool) -> tuple[str, ...]:
    """Write what the store holds of every picture that has no valid file, and return what came of it.

    A file gets one draw of the VAE's distribution, always the same one. Raises DataError for a folder that cannot be
    written to.
    """
    files: FieldFiles | None = loading.hook.field_files(config=loading.config)
    if files is None:
        return (_NONE,)
    pictures = FieldPictures.of(keys, files.latents)
    shelf = _shelf(keys, files.latents)
    came: Counter[_Came] = Counter()
    _tidy(shelf.rows)
    for path, rows in tqdm(shelf.rows.items(), desc="latents to .npz files", unit="file", disable=not show):
        lacking = [row for row in rows if not _is_there(pictures, row)]
        if lacking:
            came[_write_latents(pictures, store, path, lacking)] += 1
    return (*shelf.notes, *_notes(came, "latents"))


def export_field_texts(
    loading: Loading, index: Index, store: CacheStore, own: bytes, encoders: Collection[Part], *, show: bool
) -> tuple[str, ...]:
    """Write what the store holds of every caption that is encoded as it is written, and return what came of it.

    ``own`` is the identity of the run's encoded captions, as in ``text_key``. Raises DataError for a folder that cannot
    be written to.
    """
    files: FieldFiles | None = loading.hook.field_files(config=loading.config)
    if files is None:
        return (_NONE,)
    if not files.text.writable:
        return ("cache_format: captions get no .npz files: those of this architecture hold more than is cached",)
    if tuple(loaded_encoders(loading, encoders)) != tuple(files.text.encoders):
        return ("cache_format: captions get no .npz files: those hold what all text encoders say, and some train",)
    every = list(plain_captions(index, files.text, present=False))
    shared = shared_files((path, caption) for path, caption, _ in every)
    _tidy(path for path, _, _ in every)
    came: Counter[_Came] = Counter()
    for path, caption, row in tqdm(every, desc="captions to .npz files", unit="file", disable=not show):
        key = text_key(own, caption)
        if path not in shared and not _text_is_there(path, files.text, key, index, row):
            came[_write_text(store, files.text, path, key)] += 1
    return (*_text_notes(index, len(every), shared), *_notes(came, "captions"))


def _shelf(keys: PictureKeys, layout: LatentsFile) -> _Shelf:
    """Return which rows go into which file: of a picture's several rows the last of a size, or the last at all."""
    index, owners = keys.index, dict[Path, Path]()
    slots: dict[Path, dict[object, int]] = {}
    rivals, masked, replaced = [], 0, set()
    for row in range(len(index)):
        picture = index.path(row)
        path = latents_path(layout, picture, index.framing(row).original)
        if index.source(row).subset.conditioning_data_dir is not None:
            masked += 1
        elif owners.setdefault(path, picture) != picture:
            rivals.append(picture)
        else:
            slot = index.framing(row).size if layout.sized_keys else None
            former = slots.setdefault(path, {}).setdefault(slot, row)
            replaced |= {path} if keys.plain[former].tobytes() != keys.plain[row].tobytes() else set()
            slots[path][slot] = row
    notes = [_rivals_note(rivals)] if rivals else []
    if masked:
        notes.append(
            f"{masked} pictures with masks of conditioning_data_dir get no .npz files, which hold no such masks"
        )
    if replaced:
        notes.append(f"{len(replaced)} pictures are in several data sets, but have one .npz file: the last data set's")
    return _Shelf({path: list(rows.values()) for path, rows in slots.items()}, tuple(notes))


def _rivals_note(rivals: Sequence[Path]) -> str:
    named = ", ".join(map(str, rivals[:_NAMED])) + (", …" if len(rivals) > _NAMED else "")
    return f"{len(rivals)} pictures get no .npz file, because a picture of the same name and size has it: {named}"


def _is_there(pictures: FieldPictures, row: int) -> bool:
    index = pictures.keys.index
    path = latents_path(pictures.layout, index.path(row), index.framing(row).original)
    try:
        return path.exists() and pictures.origin(path, row) is not None
    except DamagedNpzError:
        return False


def _kept(pictures: FieldPictures, path: Path, rows: Sequence[int]) -> dict[str, Floats]:
    """Return what stays in a file: other sizes, unless the picture has changed since and they would look up to date."""
    if not path.exists() or not newer_than_picture(path, pictures.keys.index, rows[0]):
        return {}
    try:
        sizes = [latents_size(pictures.layout, pictures.keys.index.framing(row)) for row in rows]
        return dict(latents_of_other_sizes(path, pictures.layout, sizes))
    except DamagedNpzError:
        return {}


def _write_latents(pictures: FieldPictures, store: CacheStore, path: Path, rows: Sequence[int]) -> _Came:
    """Write a picture's file, at all these sizes."""
    if not is_upright(pictures.keys.index.path(rows[0])):
        return _Came.TURNED
    arrays = _kept(pictures, path, rows)
    for row in rows:
        if not pictures.keys.has(store, row):  # they are another tool's, of a file that cannot be taken any more
            return _Came.NOT_ENCODED
        own = _arrays(pictures, store, row)
        if own is None:
            return _Came.OTHER_SIZES
        arrays |= own
    return _write(path, arrays)


def _arrays(pictures: FieldPictures, store: CacheStore, row: int) -> Arrays | None:
    """Return the arrays of one picture at one size."""
    keys, layout, wanted = pictures.keys, pictures.layout, pictures.wanted(row)
    plain = _drawn(store, wanted.key, layout)
    mirrored = _drawn(store, keys.mirrored[row].tobytes(), layout) if wanted.mirrored else None
    mask = load_pixels(keys.index.picture(row)).mask if wanted.masked else None
    return latents_arrays(layout, wanted, FieldLatents(plain, mirrored, None if mask is None else mask[0]))


def _drawn(store: CacheStore, key: bytes, layout: LatentsFile) -> Floats:
    """Return one draw of a stored distribution on the VAE's own scale, from the key alone."""
    entry = store.read_key(key)
    assert entry is not None, "the store is filled first"
    tensors = to_tensors(entry)
    mean, deviation = tensors["mean"].float(), (0.5 * tensors["log_variance"].float()).exp()
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(int.from_bytes(key[:7], "little")))
    drawn: Floats = ((mean + deviation * noise) / layout.scale + layout.shift).numpy()
    return drawn


def _text_is_there(path: Path, layout: TextFile, key: bytes, index: Index, row: int) -> bool:
    try:
        return path.exists() and usable_text(path, layout, key, index, row, ()) is not None
    except DamagedNpzError:
        return False


def _write_text(store: CacheStore, layout: TextFile, path: Path, key: bytes) -> _Came:
    """Write a caption's file; bfloat16, which numpy has not, becomes float32."""
    entry = store.read_key(key)
    if entry is None:  # every visit drops the caption, or another tool has encoded it
        return _Came.NOT_ENCODED
    tensors = to_tensors(entry)
    floats = {name: one.float() if one.dtype == torch.bfloat16 else one for name, one in tensors.items()}
    arrays = text_arrays(layout, {name: one.numpy() for name, one in floats.items()}, key)
    return _Came.OTHER_SIZES if arrays is None else _write(path, arrays)


def _text_notes(index: Index, plain: int, shared: Collection[Path]) -> Iterator[str]:
    if plain < len(index):
        yield f"{len(index) - plain} captions get no .npz file: rules of captions change what is encoded of them"
    if shared:
        yield f"{len(shared)} .npz files of captions are not written: each would be of two different captions"


def _notes(came: Mapping[_Came, int], what: str) -> Iterator[str]:
    return (one.value.format(came[one], what) for one in _Came if came.get(one))


def _tidy(paths: Iterable[Path]) -> None:
    for folder in {path.parent for path in paths}:
        remove_abandoned(folder)


def _write(path: Path, arrays: Arrays) -> _Came:
    try:
        write_npz(path, arrays)
    except OSError as error:
        fix = 'make the folder writable, or leave out cache_format = "npz"'
        raise DataError(f"{path.name} cannot be written: {error.strerror}", where=str(path.parent), fix=fix) from error
    return _Came.WRITTEN
