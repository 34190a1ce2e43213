"""The size of a picture from the first kilobytes of its file; nothing is decoded."""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from loracore.data.pictures.header_formats import (
    Header,
    UnusualHeaderError,
    jpeg_header,
    png_header,
    webp_header,
)
from loracore.data.pictures.image_files import open_picture
from loracore.data.pictures.orientation import upright_size
from loracore.errors import DataError

#: os.open costs half of open(): no buffer, no decoder, no object. A pipe is opened without waiting for its writer.
if sys.platform == "win32":
    READ_FLAGS = os.O_RDONLY | os.O_BINARY
else:
    READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK

_FIRST = 4096  # bytes; most headers end before

#: What tells a format by its first bytes, and who reads it.
_SIGNATURES: tuple[tuple[bytes, Callable[[bytes, int], Header]], ...] = (
    (b"\xff\xd8\xff", jpeg_header),
    (b"\x89PNG\r\n\x1a\n", png_header),
    (b"RIFF", webp_header),
)


@runtime_checkable
class _Frames(Protocol):
    """A format of Pillow's that may hold several frames."""

    @property
    def is_animated(self) -> bool: ...


def read_size(path: str | Path) -> Header:
    """Return the size of a picture as it is seen, and whether it has frames that are not trained on.

    JPEG, PNG and WebP are read here, which takes a third of Pillow's time; whatever is unusual about them, and every
    other format, is left to Pillow, so that both always agree. Raises DataError naming the file.
    """
    try:
        file = os.open(path, READ_FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):  # a list may name folders, pipes and devices
                raise _unreadable(path, "it is no file")
            return _read_quickly(file)
        finally:
            os.close(file)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (UnusualHeaderError, IndexError, struct.error):
        pass  # Pillow says whether it is cut short or merely strange
    return _ask_pillow(Path(path))


def _read_quickly(file: int) -> Header:
    head = os.read(file, _FIRST)
    for signature, read in _SIGNATURES:
        if head.startswith(signature):
            return read(head, file)
    raise UnusualHeaderError


def _ask_pillow(path: Path) -> Header:
    with open_picture(path) as image:
        size = upright_size(image)
        # the second picture of an MPO is another view or a gain map
        return Header(size, animated=image.format != "MPO" and isinstance(image, _Frames) and image.is_animated)


def _unreadable(path: str | Path, reason: str) -> DataError:
    return DataError(f"cannot be read: {reason}", where=str(path), fix="repair or remove it")
