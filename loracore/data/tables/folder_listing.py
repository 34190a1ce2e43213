"""What lies in a folder: names, times and lengths of pictures and texts, before any of them is opened."""

from __future__ import annotations

import os
import time
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from stat import S_IFREG, S_ISREG

import numpy as np
from numpy.typing import NDArray

from loracore.data.tables.columns import ENCODING, ERRORS

#: Extensions that captions usually have.
TEXTS = frozenset({".txt", ".caption"})

#: Pictures that people put into such folders, and that are not trained on; .avif and .jxl only where Pillow lacks them.
_UNREAD = frozenset({".gif", ".tif", ".tiff", ".heic", ".heif", ".jfif", ".avif", ".jxl"})

_PART = 256  # files that are held as objects before they are packed; more is slower

_MISSING = os.stat_result((S_IFREG, *[0] * 9), {"st_mtime_ns": 0})


@dataclass(frozen=True, eq=False, slots=True)
class Files:
    """Files of one kind, in the order of the folder."""

    packed: bytes  # names, a NUL behind each: a tenth of what strings take
    modified: NDArray[np.int64]  # ns since 1970
    lengths: NDArray[np.int64]  # bytes

    @property
    def names(self) -> list[str]:
        return self.packed.decode(ENCODING, ERRORS).split("\0")[:-1]


@dataclass(frozen=True, eq=False, slots=True)
class Listing:
    """The files of one folder, or of one list."""

    pictures: Files
    texts: Mapping[str, Files]  # by extension
    unread: Mapping[str, int]  # extension → count, of pictures that are not read, and of texts with ".TXT" for ".txt"
    started: int  # ns since 1970

    @property
    def fingerprint(self) -> str:
        """Return what stays the same while nothing is added, removed, written or renamed."""
        digest = blake2b(digest_size=16)
        for kind, files in (("", self.pictures), *sorted(self.texts.items())):
            for part in (kind.encode(), files.packed, files.modified.data.cast("B"), files.lengths.data.cast("B")):
                digest.update(len(part).to_bytes(8, "little"))
                digest.update(part)
        digest.update(repr(sorted(self.unread.items())).encode())
        return digest.hexdigest()

    @property
    def newest(self) -> int:
        """Return when the last file was written; 0 without any."""
        return max(int(files.modified.max(initial=0)) for files in (self.pictures, *self.texts.values()))


class _Growing:
    """Files while they are being listed; asked for their state and packed some hundred at a time."""

    def __init__(self) -> None:
        self._waiting: list[os.DirEntry[str]] = []
        self._packed = bytearray()
        self._modified, self._lengths = array("q"), array("q")

    def take(self, entry: os.DirEntry[str]) -> None:
        """Take a file; folders, pipes and the like are left out."""
        self._waiting.append(entry)
        if len(self._waiting) == _PART:
            self._pack()

    def add(self, files: Sequence[tuple[str, os.stat_result]]) -> None:
        """Take files of whatever kind."""
        self._packed += "".join([f"{name}\0" for name, _ in files]).encode(ENCODING, ERRORS)
        self._modified.extend([status.st_mtime_ns for _, status in files])
        self._lengths.extend([status.st_size for _, status in files])

    def files(self) -> Files:
        self._pack()
        modified, lengths = (np.array(times, dtype=np.int64) for times in (self._modified, self._lengths))
        return Files(bytes(self._packed), modified, lengths)

    def _pack(self) -> None:
        try:
            stated = [(entry.name, entry.stat()) for entry in self._waiting]
        except OSError:  # a link that leads nowhere, or a file that has just been removed: reading it will say so
            stated = [(entry.name, _status(entry)) for entry in self._waiting]
        self._waiting.clear()
        self.add([(name, status) for name, status in stated if S_ISREG(status.st_mode)])


def list_folder(folder: str, caption_extension: str, suffixes: Collection[str]) -> Listing:
    """List a folder, not its sub-folders; hidden files are left out, case of pictures' extensions is no matter.

    Raises OSError for a folder that cannot be listed.
    """
    started = time.time_ns()
    pictures = _Growing()
    texts = {extension: _Growing() for extension in TEXTS | {last_suffix(caption_extension)}}
    named = dict.fromkeys(suffixes, pictures)
    kinds = texts | named
    unread: Counter[str] = Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            suffix = last_suffix(name)
            kind = kinds.get(suffix) or named.get(suffix.lower())
            if kind is not None:
                kind.take(entry)
            elif suffix.lower() in _UNREAD:
                unread[suffix.lower()] += 1
            elif suffix.lower() in texts:
                unread[suffix] += 1
    return Listing(pictures.files(), {extension: found.files() for extension, found in texts.items()}, unread, started)


def last_suffix(name: str) -> str:
    """Return a name from its last dot on."""
    return name[name.rfind(".") :]


def list_paths(paths: Iterable[str]) -> Listing:
    """Look up the given pictures; missing ones have no length."""
    started = time.time_ns()
    pictures = _Growing()
    remaining = iter(paths)
    while part := list(islice(remaining, _PART)):
        pictures.add([(path, _status(path)) for path in part])
    return Listing(pictures.files(), {}, {}, started)


def _status(file: str | os.DirEntry[str]) -> os.stat_result:
    """Return what the system knows of a file; of a missing one that it is an empty file without a time."""
    try:
        return os.stat(file)  # noqa: PTH116  # a Path for each of a million names would take seconds
    except OSError:
        return _MISSING
