"""The headers of JPEG, PNG and WebP: sizes and orientation; whatever is unusual is left to somebody else."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

#: EXIF orientations (CIPA DC-008, tag 0x0112) that exchange width and height.
SIDEWAYS = frozenset({5, 6, 7, 8})

_ORIENTATION = 0x0112
_SHORT = 3  # the EXIF type of an orientation
_UPRIGHT = 1
_LITTLE, _BIG = (Struct("<I"), Struct("<H"), Struct("<HHIH")), (Struct(">I"), Struct(">H"), Struct(">HHIH"))

_BLOCK = 4096  # bytes of a further read
_MOST = 1 << 20  # bytes: EXIF that claims more is damaged, and memory would be taken for it

_EXIF_NAME, _XMP_NAME, _XMP_TURN = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"tiff:Orientation"
_APP1, _SOS, _MARK = 0xE1, 0xDA, 0xFF  # ITU T.81, table B.1, like the two sets
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_OTHERS = frozenset({0xC4, 0xCC, *range(0xDB, 0xF0), 0xFE})  # that say how long they are
_WHOLE = frozenset({_APP1, _SOS})  # segments that are needed to their end
_TELLING = _FRAMES | {_APP1}
_LENGTH = 2  # bytes that a segment's length takes; they count
_REACH = 10  # bytes of a segment that are looked at
_BITS = 8  # of a sample that can be decoded
_LAYERS = frozenset({1, 3, 4})

_PNG_CHUNK, _SIDES, _CHECKSUM = Struct(">I4s"), Struct(">II"), Struct(">I")
_IHDR = b"\0\0\0\rIHDR"

_WEBP_CHUNK, _SHORTS, _WORD = Struct("<4sI"), Struct("<HH"), Struct("<I")
_HAS_XMP, _HAS_EXIF, _IS_ANIMATED = 0x04, 0x08, 0x02  # flags of VP8X
_LARGEST = 0x3FFF  # sides of VP8 and VP8L have 14 bits


class UnusualHeaderError(Exception):
    """A header that Pillow had better judge."""


class Header(NamedTuple):
    """What is known of a picture before it is decoded."""

    size: tuple[int, int]  # width, height, after EXIF orientation
    animated: bool = False  # has more frames than the first, the one that is trained on


def jpeg_header(head: bytes, file: int) -> Header:
    """Read a JPEG's segments up to its pixels: EXIF may stand behind the size."""
    size: tuple[int, int] | None = None
    exif = xmp = b""
    for marker, data, here, length in _segments(head, file):
        if marker in _FRAMES:
            if size is not None or data[here + 4] != _BITS or data[here + 9] not in _LAYERS:
                raise UnusualHeaderError
            size = data[here + 7] << 8 | data[here + 8], data[here + 5] << 8 | data[here + 6]
        elif marker == _APP1 and data.startswith(_EXIF_NAME, here + 4):
            if exif:  # continued: longer than a segment
                raise UnusualHeaderError
            exif = data[here + 10 : here + 2 + length]
        elif marker == _APP1 and data.startswith(_XMP_NAME, here + 4):
            xmp = data[here + 4 : here + 2 + length]
    if size is None:
        raise UnusualHeaderError
    turn = orientation(exif)
    if turn is None and _XMP_TURN in xmp:
        raise UnusualHeaderError
    return Header(_seen(size, turn))


def _segments(head: bytes, file: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Give the segments that tell something: marker, bytes, where in them it begins, its length behind the marker."""
    data, start, at = head, 0, 2  # data: the file from start on; at: where in the file the segment begins
    while True:
        here = at - start
        if here + _REACH > len(data):
            data, start, here = _read_at(file, at, _BLOCK), at, 0
        marker, length = data[here + 1], data[here + 2] << 8 | data[here + 3]
        if data[here] != _MARK:
            raise UnusualHeaderError
        if marker in _WHOLE and here + 2 + length > len(data):
            data, start, here = _read_at(file, at, 2 + length + _BLOCK), at, 0
        if marker == _SOS and here + 2 + length <= len(data):
            return
        if length < _LENGTH or (marker not in _FRAMES and marker not in _OTHERS):
            raise UnusualHeaderError
        if marker in _TELLING:
            yield marker, data, here, length
        at += 2 + length


def png_header(head: bytes, file: int) -> Header:
    """Read a PNG's chunks up to its pixels; animated ones are unusual."""
    checksum = _CHECKSUM.unpack_from(head, 29)[0]
    if head[8:16] != _IHDR or head[27] or zlib.crc32(head[12:29]) != checksum:  # byte 27: the filter method
        raise UnusualHeaderError
    size, turn = _SIDES.unpack_from(head, 16), None
    data, start, at = head, 0, 33
    while True:
        here = at - start
        if here + _PNG_CHUNK.size > len(data):
            data, start, here = _read_at(file, at, _BLOCK), at, 0
        length, kind = _PNG_CHUNK.unpack_from(data, here)
        if kind == b"IDAT":
            return Header(_seen(size, turn))
        if kind == b"eXIf":
            turn = orientation(_inside(data, here, length) or _read_at(file, at + 8, length))
        if kind == b"acTL" or (kind == b"eXIf" and turn is None):
            raise UnusualHeaderError
        at += 12 + length


def webp_header(head: bytes, file: int) -> Header:
    """Read a WebP's first chunk, and its EXIF where that says that there is one."""
    kind = head[8:16]
    if kind == b"WEBPVP8 " and head[23:26] == b"\x9d\x01\x2a" and not head[20] & 1:  # a key frame
        width, height = _SHORTS.unpack_from(head, 26)
        return Header(_seen((width & _LARGEST, height & _LARGEST), None))
    if kind == b"WEBPVP8L" and head[20] == 0x2F:  # noqa: PLR2004  # its signature
        sides = _WORD.unpack_from(head, 21)[0]
        return Header(((sides & _LARGEST) + 1, (sides >> 14 & _LARGEST) + 1))
    if kind != b"WEBPVP8X":
        raise UnusualHeaderError
    flags = head[20]
    sides = int.from_bytes(head[24:30], "little")
    size = (sides & 0xFFFFFF) + 1, (sides >> 24) + 1
    turn = None
    if flags & _HAS_EXIF:
        turn = _webp_orientation(file)
    if (turn is None and flags & _HAS_XMP) or len(head) < 30:  # noqa: PLR2004  # where the sides end
        raise UnusualHeaderError
    return Header(_seen(size, turn), animated=bool(flags & _IS_ANIMATED))


def _webp_orientation(file: int) -> int | None:
    """Find the EXIF behind the pixels, from chunk to chunk."""
    at = 30  # behind VP8X
    while True:
        kind, length = _WEBP_CHUNK.unpack(_read_at(file, at, 8))
        if kind == b"EXIF":
            return orientation(_read_at(file, at + 8, length).removeprefix(_EXIF_NAME))
        at += 8 + length + length % 2


def orientation(exif: bytes) -> int | None:
    """Return the orientation that EXIF (a TIFF header and its first directory) names, None if it names none."""
    if not exif:
        return None
    if exif[:4] == b"II*\0":
        word, short, entry = _LITTLE
    elif exif[:4] == b"MM\0*":
        word, short, entry = _BIG
    else:
        raise UnusualHeaderError
    at = word.unpack_from(exif, 4)[0]
    found = None
    for place in range(at + 2, at + 2 + 12 * short.unpack_from(exif, at)[0], 12):
        tag, kind, count, value = entry.unpack_from(exif, place)
        if tag == _ORIENTATION:
            if kind != _SHORT or count != 1:
                raise UnusualHeaderError
            found = value
    return found


def _seen(size: tuple[int, int], turn: int | None) -> tuple[int, int]:
    """Return the size after turning the picture upright."""
    if not (size[0] and size[1]):
        raise UnusualHeaderError
    return (size[1], size[0]) if turn in SIDEWAYS else size


def _inside(data: bytes, here: int, length: int) -> bytes:
    """Return the content of a PNG's chunk if all of it has been read."""
    return data[here + 8 : here + 8 + length] if here + 8 + length <= len(data) else b""


def _read_at(file: int, offset: int, length: int) -> bytes:
    if length > _MOST:
        raise UnusualHeaderError
    os.lseek(file, offset, os.SEEK_SET)
    return os.read(file, length)
