"""Arrays in ``.npz`` files: headers before contents, never a pickle; a file is written whole or not at all."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from loracore.data.renaming import rename

Arrays = Mapping[str, NDArray[Any]]

_SUFFIX = ".npy"
_FIRST_VERSION = (1, 0)
_UNFINISHED = re.compile(r"\..+\.npz\.\d+\.part")
_ABANDONED = 600.0  # s; a file takes less than one


class DamagedNpzError(Exception):
    """A file that is no whole ``.npz`` file, or one of arrays that only a pickle could hold."""


class Header(NamedTuple):
    """What an array's header says."""

    shape: tuple[int, ...]
    kind: str  # as numpy has it: "f" floating, "i" and "u" integer, "b" boolean


def npz_headers(path: Path) -> Mapping[str, Header]:
    """Return the headers of a file's arrays by name. Raises DamagedNpzError."""
    with _archive(path) as archive:
        return {name: _header(archive, name) for name in _names(archive)}


def npz_arrays(path: Path, names: Collection[str]) -> Arrays:
    """Return some arrays of a file, whose headers should have been looked at. Raises DamagedNpzError."""
    with _archive(path) as archive:
        return {name: _array(archive, name) for name in names}


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write a file, replacing one that is there, so that nobody ever sees half of it. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            _write(file, arrays)
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave the name with nothing behind it
        rename(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder; what another run may be writing now stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _UNFINISHED.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > _ABANDONED:
                Path(entry.path).unlink(missing_ok=True)


@contextmanager
def _archive(path: Path) -> Iterator[ZipFile]:
    """Open a file; whatever fails before it is closed is a DamagedNpzError."""
    try:
        with ZipFile(path) as archive:
            yield archive
    except Exception as error:  # zipfile, zlib and numpy's parser of headers raise many kinds on broken files
        raise DamagedNpzError(str(path)) from error


def _names(archive: ZipFile) -> Iterator[str]:
    return (name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX))


def _header(archive: ZipFile, name: str) -> Header:
    with archive.open(name + _SUFFIX) as member:
        return _read_header(member)


def _read_header(member: IO[bytes]) -> Header:
    first = np.lib.format.read_magic(member) == _FIRST_VERSION
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return Header(tuple(shape), dtype.kind)


def _array(archive: ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name + _SUFFIX) as member:
        found: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return found


def _write(file: IO[bytes], arrays: Arrays) -> None:
    with ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            _add(archive, name, array)


def _add(archive: ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(name + _SUFFIX, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
