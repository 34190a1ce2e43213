"""From the keys of a list of pictures to the pictures' paths: relative ones stay inside their folder."""
# ruff: noqa: PTH100, PTH117, PTH118, PTH120, PTH122  # Paths are slow for a million keys, and cannot drop ".."

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loracore.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Start:
    """Where relative keys start."""

    written: str  # before a key; the folder as image_dir names it
    whole: str  # absolute, with a separator at its end; case as the system compares it


#: What comes of a key: a path, what is wrong with it, or why its folder cannot be listed.
Found = str | Problem | OSError


def find_pictures(keys: Sequence[str], image_dir: Path | None, suffixes: Collection[str]) -> list[Found]:
    """Return the path that each key names, or what is wrong with it; without image_dir, keys must be absolute.

    A key without one of ``suffixes`` (lower case, with dot) names the only picture of that stem in its folder, or gets
    the OSError with which the folder answers; other pictures need not exist.
    """
    start = None if image_dir is None else _start(image_dir)
    paths = [_path(key, start) for key in keys]
    bare = {path for path in paths if isinstance(path, str) and _suffix(path) not in suffixes}
    pictures = {folder: _by_stem(folder, suffixes) for folder in {os.path.dirname(path) for path in bare}}
    return [_only_picture(path, pictures) if isinstance(path, str) and path in bare else path for path in paths]


def is_relative(key: str) -> bool:
    """Tell whether a key needs a folder to start from."""
    return not os.path.isabs(key)


def _start(image_dir: Path) -> _Start:
    written = str(image_dir)
    whole = os.path.join(os.path.abspath(written), "")
    return _Start("" if written == os.curdir else written, os.path.normcase(whole))


def _path(key: str, start: _Start | None) -> str | Problem:
    if not _can_be_a_path(key):
        return Problem(f"{key!r} cannot be the path of a file")
    plain = os.path.normpath(key)
    if os.path.isabs(plain):
        inside = start is not None and os.path.normcase(plain).startswith(start.whole)
        return os.path.join(start.written, plain[len(start.whole) :]) if start and inside else plain
    climbs = plain == os.pardir or plain.startswith((os.pardir + os.sep, os.sep))
    if climbs or os.path.splitdrive(plain)[0]:  # Windows: "C:a" and "\a" are not absolute, and leave the folder
        return Problem(f"{key!r} leaves image_dir", fix="write paths inside image_dir, or absolute ones")
    assert start is not None
    return os.path.join(start.written, plain)


def _can_be_a_path(key: str) -> bool:
    try:
        return bool(key) and b"\0" not in os.fsencode(key)
    except UnicodeEncodeError:  # halves of surrogate pairs, which JSON can spell
        return False


def names_by_stem(folder: str, suffixes: Collection[str]) -> Mapping[str, Sequence[str]]:
    """Return the sorted names of a folder's pictures by their names without extension. Raises OSError."""
    found: dict[str, list[str]] = defaultdict(list)
    with os.scandir(folder or os.curdir) as entries:
        for name in sorted(entry.name for entry in entries):
            if _suffix(name) in suffixes:
                found[os.path.splitext(name)[0]].append(name)
    return found


def _by_stem(folder: str, suffixes: Collection[str]) -> Mapping[str, Sequence[str]] | OSError:
    try:
        return names_by_stem(folder, suffixes)
    except OSError as error:
        return error


def _only_picture(path: str, pictures: Mapping[str, Mapping[str, Sequence[str]] | OSError]) -> Found:
    folder, stem = os.path.split(path)
    listed = pictures[folder]
    if isinstance(listed, OSError):
        return listed
    names = listed.get(stem, ())
    if len(names) == 1:
        return os.path.join(folder, names[0])
    where = f"in '{folder or os.curdir}'"
    if names:
        return Problem(f"{stem!r} could be any of {', '.join(names)} {where}", fix="write the extension in the list")
    return Problem(
        f"there is no picture named {stem!r} {where}", fix="extensions of pictures may be left out, not others"
    )


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
