"""What the folder of a subset holds: pictures, the captions beside them, and what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loracore.data.captions import caption_stems, first_line
from loracore.data.images import inspect
from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from loracore.config.dataset_spec import SubsetSpec
    from loracore.data.buckets import Size

#: Pictures that people put into such folders, and that are not trained on; .avif and .jxl only where Pillow lacks them.
_UNREAD = frozenset({".gif", ".tif", ".tiff", ".heic", ".avif", ".jxl"})


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one folder by name."""

    pictures: tuple[str, ...]  # sorted
    others: frozenset[str]
    unread: Mapping[str, int]  # extension → count, of pictures among the others


@dataclass(frozen=True, slots=True)
class Sight:
    """What was read of one picture."""

    path: Path
    size: Size | None  # None: it cannot be decoded
    caption: str | None  # None: it has no caption file
    problems: tuple[Problem, ...]


def list_folder(image_dir: Path, suffixes: Collection[str]) -> Folder:
    """List a folder, not its sub-folders; hidden files are no pictures, case of extensions is no matter.

    Raises OSError.
    """
    with os.scandir(image_dir) as entries:
        files = [entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir()]
    pictures = tuple(sorted(name for name in files if _suffix(name) in suffixes))
    others = frozenset(files).difference(pictures)
    return Folder(pictures, others, Counter(_suffix(name) for name in others if _suffix(name) in _UNREAD))


def look_at(name: str, others: Collection[str], subset: SubsetSpec) -> Sight:
    """Return what a picture's file and the file of its caption say; ``others`` are the names in its folder."""
    path = subset.image_dir / name
    names = (f"{stem}{subset.caption_extension}" for stem in caption_stems(path.stem))
    caption_name = next((found for found in names if found in others), None)
    problems: list[Problem] = []
    size, caption = None, None
    try:
        size = inspect(path)
    except DataError as error:
        problems += error.problems
    try:
        caption = None if caption_name is None else _read_caption(subset.image_dir / caption_name)
    except DataError as error:
        problems += error.problems
    return Sight(path, size, caption, tuple(problems))


def _read_caption(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the caption is not UTF-8 text (byte {error.start + 1})"
        raise DataError(message, where=str(path), fix="save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"the caption cannot be read: {error.strerror}", where=str(path)) from error
    return first_line(text)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path for each of a million names takes seconds
