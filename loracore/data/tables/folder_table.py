"""One scan of a folder or of a list of pictures; what has not changed since the last one is not opened again."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracore.data.pictures.headers import READ_FLAGS, read_size
from loracore.data.tables.caption_files import CaptionFiles, match_captions, no_captions, read_captions, two_captions
from loracore.data.tables.columns import TextColumn
from loracore.data.tables.folder_listing import Listing, list_folder, list_paths
from loracore.data.tables.kept_tables import load_table, save_table
from loracore.data.tables.picture_table import DIGEST, CaptionState, Origin, PictureTable
from loracore.errors import DataError

#: A file that was written this shortly before a scan (ns) may be written again without its time changing: FAT counts
#: in 2 s.
_RACY = 2_000_000_000


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """The pictures of a scan in their order, before anything is read."""

    names: Sequence[str]
    modified: NDArray[np.int64]
    lengths: NDArray[np.int64]
    captions: CaptionFiles


def scan_folder(image_dir: Path, caption_extension: str, suffixes: Collection[str], keep: Path | None) -> PictureTable:
    """Return the pictures of a folder, with what their headers and the captions beside them say.

    ``keep`` is the folder of kept tables; None keeps nothing. Raises OSError for a folder that cannot be listed.
    """
    listing = list_folder(os.fspath(image_dir), caption_extension, suffixes)
    origin = Origin(_absolute(image_dir), caption_extension, listing.fingerprint, listing.started)
    kept, note = _kept(origin, image_dir, keep)
    if _holds(kept, origin, listing):
        return kept
    names = listing.pictures.names
    order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    names.sort()
    captions = match_captions(names, caption_extension, listing.texts)
    found = _Found(names, listing.pictures.modified[order], listing.pictures.lengths[order], captions)
    table = _table(origin, image_dir, found, kept)
    return _keep(replace(table, unread=MappingProxyType(dict(listing.unread)), note=note), keep)


def scan_list(paths: Sequence[Path], keep: Path | None, listed_in: Path | None = None) -> PictureTable:
    """Return the given pictures in their order, with what their headers say; captions are left empty.

    ``listed_in`` is the file that names them: a table that is kept under its name survives changes of the list.
    """
    listing = list_paths(map(os.fspath, paths))
    names = listing.pictures.names
    what = _absolute(listed_in) if listed_in else blake2b(listing.pictures.packed).hexdigest()
    origin = Origin(f"{what} in {Path.cwd()}", "", listing.fingerprint, listing.started)
    kept, note = _kept(origin, None, keep)
    if _holds(kept, origin, listing):
        return kept
    found = _Found(names, listing.pictures.modified, listing.pictures.lengths, no_captions(len(names)))
    return _keep(replace(_table(origin, None, found, kept), note=note), keep)


def _kept(origin: Origin, folder: Path | None, keep: Path | None) -> tuple[PictureTable, str]:
    """Return what is kept of a place, a table without rows where that is nothing."""
    kept, note = (None, "") if keep is None else load_table(keep, origin.place, origin.caption_extension, folder)
    return (_without_rows(replace(origin, fingerprint=""), folder) if kept is None else kept), note


def _keep(table: PictureTable, keep: Path | None) -> PictureTable:
    return table if keep is None else save_table(keep, table)


def _holds(kept: PictureTable, origin: Origin, listing: Listing) -> bool:
    """Tell whether a kept table can be used as it is: nothing has changed, and what was unreadable still is."""
    if kept.origin.fingerprint != origin.fingerprint or listing.newest > kept.origin.scanned - _RACY:
        return False
    headless = np.flatnonzero(kept.sizes[:, 0] == 0)
    locked = np.flatnonzero(kept.caption_states == CaptionState.UNREADABLE)
    return not any(_has_size(kept.path(int(row))) for row in headless) and not any(
        _opens(kept.caption_path(int(row))) for row in locked
    )


def _absolute(path: Path) -> str:
    """Return a path that does not depend on where the run was started; links stay as they are named."""
    return os.path.abspath(path)  # noqa: PTH100  # resolve() would follow them


def _has_size(path: Path) -> bool:
    try:
        read_size(path)
    except DataError:
        return False
    return True


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, READ_FLAGS))
    except OSError:
        return False
    return True


def _table(origin: Origin, folder: Path | None, found: _Found, kept: PictureTable) -> PictureTable:
    """Read what is new, and take the rest from the kept table."""
    prefix = "" if folder is None else f"{folder}{os.sep}"
    old = _old_rows(kept, found.names)
    captions, states = _captions(prefix, found.captions, kept, old)
    old = np.where(_same_pictures(found, kept, old), old, -1)
    sizes, animated = _carried(kept.sizes, old), _carried(kept.animated, old)
    new = np.flatnonzero(old < 0)
    sizes[new], animated[new] = _read_headers(prefix + found.names[row] for row in new.tolist())
    return PictureTable(
        origin,
        folder,
        names=TextColumn.from_texts(found.names),
        captions=captions,
        caption_states=states,
        caption_stems=found.captions.stems,
        sizes=sizes,
        modified=found.modified,
        lengths=found.lengths,
        caption_modified=found.captions.modified,
        caption_lengths=found.captions.lengths,
        animated=animated,
        two_captions=two_captions(prefix, found.captions, captions),
        decoded=_carried(kept.decoded, old),
        has_digest=_carried(kept.has_digest, old),
        digests=_carried(kept.digests, old),
        text_files=found.captions.text_files,
    )


def _old_rows(kept: PictureTable, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the row that each name has in the kept table, -1 for new ones."""
    where = {name: row for row, name in enumerate(kept.names)}
    return np.fromiter((where.get(name, -1) for name in names), np.int64, len(names))


def _same_pictures(found: _Found, kept: PictureTable, old: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which pictures are as they were when they were read, going by their times and lengths."""
    same: NDArray[np.bool_] = (
        (old >= 0)
        & (found.modified <= kept.origin.scanned - _RACY)
        & (found.modified == _carried(kept.modified, old))
        & (found.lengths == _carried(kept.lengths, old))
        & (_carried(kept.sizes, old)[:, 0] > 0)  # one that could not be read is tried again
    )
    return same


def _captions(
    prefix: str, files: CaptionFiles, kept: PictureTable, old: NDArray[np.int64]
) -> tuple[TextColumn, NDArray[np.uint8]]:
    """Return text and state of each row's caption; those that have changed are read."""
    states = _carried(kept.caption_states, old)
    same = (
        np.isin(states, (CaptionState.READ, CaptionState.NOT_TEXT))
        & (files.rows >= 0)
        & (files.stems == _carried(kept.caption_stems, old))
        & (files.modified <= kept.origin.scanned - _RACY)
        & (files.modified == _carried(kept.caption_modified, old))
        & (files.lengths == _carried(kept.caption_lengths, old))
    )
    new = np.flatnonzero((files.rows >= 0) & ~same)
    paths = (prefix + files.names[text] for text in files.rows[new].tolist())
    texts, new_states = read_captions(paths, files.lengths[new].tolist())
    states[~same] = CaptionState.NONE
    states[new] = new_states
    if len(new) == len(states):
        return texts, states
    # rows of: the kept texts, the new ones, one that is empty
    together = kept.captions.joined(texts).joined(TextColumn.empty(1))
    rows = np.where(same, old, len(together) - 1)
    rows[new] = len(kept.captions) + np.arange(len(new))
    return together.take(rows), states


def _read_headers(paths: Iterable[str]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return each picture's size, (0, 0) where it cannot be read, and whether it is animated."""
    sides, animated = array("I"), bytearray()
    for path in paths:
        try:
            size, moves = read_size(path)
        except DataError:
            size, moves = (0, 0), False
        sides.extend(size)
        animated.append(moves)
    return np.array(sides, dtype=np.uint32).reshape(-1, 2), np.array(animated, dtype=np.bool_)


def _carried(column: NDArray[Any], old: NDArray[np.int64]) -> NDArray[Any]:
    """Return a kept column's values for the rows of a new table; zeros where there is no old row (-1)."""
    values = np.zeros((len(old), *column.shape[1:]), column.dtype)
    known = old >= 0
    values[known] = column[old[known]]
    return values


def _without_rows(origin: Origin, folder: Path | None) -> PictureTable:
    none, flags, times = np.zeros(0, np.uint8), np.zeros(0, np.bool_), np.zeros(0, np.int64)
    return PictureTable(
        origin,
        folder,
        names=TextColumn.empty(0),
        captions=TextColumn.empty(0),
        caption_states=none,
        caption_stems=none,
        sizes=np.zeros((0, 2), np.uint32),
        modified=times,
        lengths=times,
        caption_modified=times,
        caption_lengths=times,
        animated=flags,
        two_captions=flags,
        decoded=none,
        has_digest=flags,
        digests=np.zeros((0, DIGEST), np.uint8),
    )
