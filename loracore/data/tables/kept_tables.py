"""Tables of pictures that are kept between runs: one file each, mapped when it is read, replaced when it is written.

A file is a magic word, the length and checksum of a JSON header, the header, and the columns one behind the other.
Each writing makes a file of a new name and then removes the older ones: where files in use cannot be replaced
(Windows), a table that is mapped here can still be written here.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracore.data.renaming import rename
from loracore.data.tables.columns import TextColumn
from loracore.data.tables.picture_table import Origin, PictureTable

_MAGIC = b"pictures"
_VERSION = 2  # 1 took a PNG with whole checksums for whole
_PREFIX = Struct("<8sII")  # magic, length of the header, its checksum
_ALIGNED = 64  # bytes, where columns may begin
_BLOCK = 1 << 20  # bytes that are checked at once

_TEXTS = ("names", "captions")
_ARRAYS = (
    *("caption_states", "caption_stems", "sizes", "modified", "lengths", "caption_modified", "caption_lengths"),
    *("animated", "two_captions", "decoded", "has_digest", "digests"),
)

_SUFFIX, _UNFINISHED = ".pictures", ".part"
_ABANDONED = 3_600_000_000_000  # ns, after which an unfinished file belongs to nobody


class _DamagedError(Exception):
    """A kept file that is no whole table of this version."""


def load_table(keep: Path, place: str, caption_extension: str, folder: Path | None) -> tuple[PictureTable | None, str]:
    """Return the kept table of a place, its arrays mapped, and a note where one had to be put aside."""
    files = _generations(keep, _key(place, caption_extension), _SUFFIX)
    if not files:
        return None, ""
    try:
        return _read(files[-1][1], place, caption_extension, folder), ""
    except FileNotFoundError:  # another run has replaced it just now
        return None, ""
    except _DamagedError as error:
        return None, f"the kept table of {place} {error}; it is made again"
    except OSError as error:
        return None, f"the kept table of {place} cannot be read: {error.strerror}; it is made again"


def save_table(keep: Path, table: PictureTable) -> PictureTable:
    """Keep a table and return it mapped; where that fails, return it as it is, with a note."""
    origin = table.origin
    key = _key(origin.place, origin.caption_extension)
    try:
        keep.mkdir(parents=True, exist_ok=True)
        path = _write(keep, key, table)
        mapped = _read(path, origin.place, origin.caption_extension, table.folder)
    except (OSError, _DamagedError) as error:
        note = f"the table of {origin.place} could not be kept in {keep}: {error}"
        return replace(table, note="; ".join(part for part in (table.note, note) if part))
    _remove_older(keep, key, path)
    return replace(mapped, note=table.note)


def _key(place: str, caption_extension: str) -> str:
    return blake2b(f"{place}\0{caption_extension}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _generations(keep: Path, key: str, suffix: str) -> list[tuple[int, Path]]:
    """Return the files of a table and when they were begun (ns since 1970), the newest last."""
    try:
        files = [path for path in keep.iterdir() if path.name.startswith(key) and path.suffix == suffix]
    except OSError:  # there is no such folder yet, or writing will say what is the matter
        return []
    return sorted((int(time), path) for path in files if (time := path.name.split(".")[1]).isdecimal())


def _write(keep: Path, key: str, table: PictureTable) -> Path:
    """Write a file of a new name, complete or not at all."""
    before = max((begun for begun, _ in _generations(keep, key, _SUFFIX)), default=0)
    begun = max(time.time_ns(), before + 1)  # a clock that was set back must not hide the new file
    path = keep / f"{key}.{begun}{_SUFFIX}"
    unfinished = keep / f"{key}.{begun}.{os.getpid()}{_UNFINISHED}"
    try:
        with unfinished.open("wb") as file:
            for part in _parts(table):
                file.write(part)
        rename(unfinished, path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
    return path


def _remove_older(keep: Path, key: str, newest: Path) -> None:
    files = _generations(keep, key, _SUFFIX)
    since = next((begun for begun, path in files if path == newest), 0)
    abandoned = _generations(keep, key, _UNFINISHED)
    gone = [path for begun, path in files if begun < since]
    gone += [path for begun, path in abandoned if begun < since - _ABANDONED]
    for path in gone:
        with suppress(OSError):  # in use, on Windows: a later run removes it
            path.unlink()


def _parts(table: PictureTable) -> Iterator[memoryview | bytes]:
    """Give what a file consists of, in its order."""
    columns: dict[str, tuple[str, tuple[int, ...], int]] = {}  # name → type, shape, where behind the header
    parts: list[memoryview | bytes] = []
    size = checksum = 0
    for name, array in _arrays(table):
        columns[name] = (array.dtype.str, array.shape, size)
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for part in (flat.data, bytes(-len(flat) % _ALIGNED)):
            size += len(part)
            checksum = zlib.crc32(part, checksum)
            parts.append(part)
    header = _header(table, columns, size, checksum)
    yield _PREFIX.pack(_MAGIC, len(header), zlib.crc32(header))
    yield header
    yield from parts


def _arrays(table: PictureTable) -> Iterator[tuple[str, NDArray[Any]]]:
    for name in _TEXTS:
        column: TextColumn = getattr(table, name)
        yield f"{name}.offsets", column.offsets
        yield f"{name}.blob", column.blob
    for name in _ARRAYS:
        yield name, getattr(table, name)


def _header(
    table: PictureTable, columns: dict[str, tuple[str, tuple[int, ...], int]], size: int, checksum: int
) -> bytes:
    origin = table.origin
    said = {
        "version": _VERSION,
        "place": origin.place,
        "caption_extension": origin.caption_extension,
        "fingerprint": origin.fingerprint,
        "scanned": origin.scanned,
        "unread": dict(table.unread),
        "text_files": table.text_files,
        "columns": columns,
        "size": size,
        "checksum": checksum,
    }
    header = json.dumps(said).encode()
    return header + b" " * (-(_PREFIX.size + len(header)) % _ALIGNED)


def _read(path: Path, place: str, caption_extension: str, folder: Path | None) -> PictureTable:
    said, start = _checked_header(path)
    if said.get("place") != place or said.get("caption_extension") != caption_extension:
        raise _DamagedError("belongs to another folder")
    mapped = np.memmap(path, np.uint8, "r").view(np.ndarray)[start:]
    columns: dict[str, Any] = {}
    for name, (kind, shape, offset) in said["columns"].items():
        dtype = np.dtype(kind)
        length = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        columns[name] = mapped[offset : offset + length].view(dtype).reshape(shape)
    return PictureTable(
        Origin(place, caption_extension, said["fingerprint"], said["scanned"]),
        folder,
        names=TextColumn(columns["names.blob"], columns["names.offsets"]),
        captions=TextColumn(columns["captions.blob"], columns["captions.offsets"]),
        **{name: columns[name] for name in _ARRAYS},
        unread=MappingProxyType(said["unread"]),
        text_files=said["text_files"],
    )


def _checked_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header and where the columns begin, after comparing checksums: from there on nothing is doubted."""
    with path.open("rb", buffering=0) as file:
        prefix = file.read(_PREFIX.size)
        magic, length, checksum = _PREFIX.unpack(prefix.ljust(_PREFIX.size, b"\0"))
        header = file.read(length) if magic == _MAGIC else b""
        if magic != _MAGIC or zlib.crc32(header) != checksum:
            raise _DamagedError("is damaged")
        said: dict[str, Any] = json.loads(header)
        if said.get("version") != _VERSION:
            raise _DamagedError("is of another version")
        # through read(), not the mapping: the pages stay the system's
        size = checksum = 0
        while block := file.read(_BLOCK):
            size += len(block)
            checksum = zlib.crc32(block, checksum)
    if (size, checksum) != (said["size"], said["checksum"]):
        raise _DamagedError("is damaged")
    return said, _PREFIX.size + length
