"""Decoded pictures of every colour mode as 8-bit RGB, and how opaque they are."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np
from PIL import Image

from loracore.data.pictures.image_files import open_picture
from loracore.errors import DataError

_BLACK = 0
_WHITE_8, _WHITE_16 = 255, 65535
_JPEG = b"\xff\xd8\xff"  # how a JPEG begins
_OWN_ALPHA = frozenset({"LA", "PA", "RGBA"})


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture as 8-bit RGB; transparency is dropped, not composited, and colour profiles are ignored.

    So colours hidden under transparency appear, as in the field. Grey of more than 8 bits is scaled, where Pillow would
    turn everything above 255 into white. Raises ValueError for values or modes that cannot be brought to RGB.
    """
    if image.mode == "RGB":
        return image
    if _is_deep(image.mode):
        return _eight_bits(image).convert("RGB")
    if image.mode == "P":
        # a palette with transparency goes to RGB only by way of RGBA, else Pillow warns
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def red_of(image: Image.Image) -> Image.Image:
    """Return the red channel of ``to_rgb`` (mode L), which is a grey picture's own."""
    return image if image.mode == "L" else to_rgb(image).getchannel("R")


def alpha_of(image: Image.Image) -> Image.Image | None:
    """Return how opaque each pixel is (mode L, 255 is opaque), or None when the picture has no transparency."""
    if image.mode in _OWN_ALPHA:
        return image.getchannel("A")
    if not image.has_transparency_data:
        return None
    if _is_deep(image.mode):  # 16-bit grey of which one value is transparent
        opaque = np.asarray(image) != image.info["transparency"]
        return Image.fromarray(opaque.astype(np.uint8) * 255)
    return image.convert("RGBA").getchannel("A")


def may_be_transparent(path: Path) -> bool:
    """Tell by a picture's header whether it has transparency, if only of 255 everywhere."""
    try:
        with path.open("rb") as file:
            if file.read(len(_JPEG)) == _JPEG:  # never; Pillow would read all of its header
                return False
        with open_picture(path) as image:
            return image.has_transparency_data
    except (DataError, OSError):  # broken pictures are somebody else's business
        return False


def check_values(image: Image.Image) -> None:
    """Raise ValueError when the mode or the values of a decoded picture cannot be brought to RGB."""
    if _is_deep(image.mode):
        _white(image)
    else:
        to_rgb(Image.new(image.mode, (1, 1)))


def _is_deep(mode: str) -> bool:
    return mode == "F" or mode.startswith("I")


def _eight_bits(image: Image.Image) -> Image.Image:
    scaled = np.asarray(image).astype(np.float32) * np.float32(_WHITE_8 / _white(image))
    return Image.fromarray(np.clip(np.rint(scaled), _BLACK, _WHITE_8).astype(np.uint8))


def _white(image: Image.Image) -> int:
    """Return which value stands for white.

    Integers have 16 bits, in whatever mode they arrive (Pillow scales PGM to them). Floating-point numbers do not say
    their range: 1 unless one is above it, then 255 as Pillow has it.
    """
    if image.mode.startswith("I;16"):
        return _WHITE_16
    lowest, highest = _extremes(image)
    if not isfinite(lowest) or not isfinite(highest):
        raise ValueError("its grey values are not all finite")
    most = _WHITE_8 if image.mode == "F" else _WHITE_16
    if highest > most:
        raise ValueError(f"its grey values reach {highest:g}, where {most} is taken for white")
    return 1 if image.mode == "F" and highest <= 1 else most


def _extremes(image: Image.Image) -> tuple[float, float]:
    values = np.asarray(image)
    return float(values.min()), float(values.max())
