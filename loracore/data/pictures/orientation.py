"""How stored pixels must be turned so that a picture stands upright, as its EXIF data says."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from loracore.data.buckets import Size

#: How stored pixels must be turned, by EXIF orientation (CIPA DC-008, tag 0x0112); 1 is upright.
_ORIENTATION = 0x0112
_TURNS = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)
_SIDEWAYS = frozenset({5, 6, 7, 8})


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that an opened picture needs, None when it is upright; ask before its pixels are decoded."""
    return _TURNS.get(_orientation(image))


def upright_size(image: Image.Image) -> Size:
    """Return the size (width, height) of an opened picture as it is seen; ask before its pixels are decoded."""
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """Return a decoded picture turned so."""
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 to 8), 1 when there is none or when the EXIF data is broken.

    A PNG's EXIF behind its pixels is left alone: to find it, Pillow decodes the whole picture. A TIFF is always 1:
    its size is given upright, and decoding turns its pixels.
    """
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        found = image.getexif().get(_ORIENTATION)
    except SyntaxError:  # Pillow's word for data that is no EXIF; the pixels are none the worse
        return 1
    return found if isinstance(found, int) else 1
