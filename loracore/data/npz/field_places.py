"""Where the field's files stand beside the pictures of an index, and what speaks against them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from loracore.data.captions.rules import CaptionVisit, depends_on_step, is_random, worded_caption
from loracore.data.pictures.image_files import open_picture
from loracore.data.pictures.orientation import turn_of
from loracore.errors import DataError

if TYPE_CHECKING:
    from loracore.config.dataset_spec import CaptionRules
    from loracore.data.index import Index

Owner = TypeVar("Owner")


def presence() -> Callable[[Path], bool]:
    """Return what tells whether an ``.npz`` file is there; each folder is listed once."""

    @cache
    def names(folder: Path) -> frozenset[str]:
        with suppress(OSError), os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.name.endswith(".npz"))
        return frozenset()

    return lambda path: path.name in names(path.parent)


def shared_files(owners: Iterable[tuple[Path, Owner]]) -> frozenset[Path]:
    """Return the files that more than one picture, or caption, would call its own: nobody knows whose they are."""
    first: dict[Path, Owner] = {}
    return frozenset(path for path, owner in owners if first.setdefault(path, owner) != owner)


def newer_than_picture(path: Path, index: Index, row: int) -> bool:
    """Tell whether a file was written after its picture, or at the same time."""
    return _written(path) >= int(index.source(row).table.modified[int(index.table_rows[row])])


def newer_than_caption(path: Path, index: Index, row: int) -> bool:
    """Tell whether a file was written after the caption that its picture has now; class_tokens have no time."""
    source, table_row = index.source(row), int(index.table_rows[row])
    if not source.has_caption(table_row):
        return False
    if source.subset.metadata_file is not None:
        return _written(path) >= _written(source.subset.metadata_file)
    return _written(path) >= int(source.table.caption_modified[table_row])


def is_upright(path: Path) -> bool:
    """Tell whether a picture is seen as it is stored: what its EXIF data turns is encoded sideways in the field."""
    try:
        with open_picture(path) as image:
            return turn_of(image) is None
    except DataError:
        return False


def spoken_as_written(caption: str, rules: CaptionRules) -> bool:
    """Tell whether a caption that is not dropped is read in every visit as its file says it."""
    if is_random(rules) or depends_on_step(rules):
        return False
    nothing = random.Random(0)  # noqa: S311  # draws nothing
    return worded_caption(caption, rules, CaptionVisit(1, 0, 1), nothing) == caption


def _written(path: Path) -> int:
    """Return when a file was last written, in ns since 1970; -1 when it is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1
