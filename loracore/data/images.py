"""Pictures from files: their sizes, whether they can be decoded, and their pixels as they are trained."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from loracore.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from loracore.data.buckets import Size
    from loracore.data.picture import Picture

#: What is taken from a folder of pictures, where Pillow can read it.
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl"})

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

#: Pillow's filter for each name of ``resize_interpolation``. Unlike OpenCV's, all but nearest average when shrinking.
_FILTERS = MappingProxyType(
    {
        "area": Image.Resampling.BOX,
        "box": Image.Resampling.BOX,
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "linear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "cubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }
)


def readable_suffixes() -> frozenset[str]:
    """Return the extensions, in lower case, of the pictures that are trained on and that Pillow can read here."""
    with suppress(ImportError):  # optional: it teaches Pillow .jxl
        import_module("pillow_jxl")
    formats = Image.registered_extensions()
    return frozenset(suffix for suffix in _SUFFIXES if formats.get(suffix) in Image.OPEN)


def inspect(path: Path) -> Size:
    """Return a picture's size (width, height) as it is seen, after proving that its pixels can be decoded.

    JPEG is decoded at an eighth of its size, PNG has its checksums read. Raises DataError naming the file.
    """
    try:
        with Image.open(path) as image:
            size = _upright_size(image)
            if image.format != "PNG" or not _checksums_fit(image):
                _decode(path)
    except Exception as error:  # Pillow's decoders raise many kinds on broken files
        raise _unreadable(path, error) from error
    return size


def load_image(picture: Picture) -> NDArray[np.float32]:
    """Return a picture's pixels (3,H,W in [-1, 1]): turned upright, as RGB, resized and cut as its framing says.

    Of an animation this is the first frame; transparency is dropped, not composited, as the field does; 16-bit grey is
    scaled. Raises DataError when the file cannot be decoded or is not the one that was scanned.
    """
    framing = picture.framing
    try:
        with Image.open(picture.path) as image:
            turn = _TURNS.get(_orientation(image))
            pixels = _rgb(image)
    except Exception as error:  # Pillow's decoders raise many kinds on broken files
        raise _unreadable(picture.path, error) from error
    upright = pixels if turn is None else pixels.transpose(turn)
    if upright.size != framing.original:
        message = f"the picture is {_by(upright.size)} now; it was {_by(framing.original)} when it was scanned"
        raise DataError(message, where=str(picture.path), fix="leave the pictures alone during a run")
    if upright.size != framing.resized:
        upright = upright.resize(framing.resized, _filter(framing.original, framing.resized, picture.interpolation))
    left, top = framing.crop
    cut = upright.crop((left, top, left + framing.size[0], top + framing.size[1]))
    scaled = np.asarray(cut, dtype=np.float32) / 255 * 2 - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _checksums_fit(image: Image.Image) -> bool:
    """Tell whether every chunk of a PNG is whole; where one is not, the pixels may still be."""
    try:
        image.verify()
    except (OSError, SyntaxError):
        return False
    return True


def _decode(path: Path) -> None:
    with Image.open(path) as image:
        image.draft("RGB", (1, 1))  # an eighth of the size, for JPEG alone
        image.load()


def _filter(original: Size, resized: Size, interpolation: str | None) -> Image.Resampling:
    """Return the chosen filter; without a choice areas are averaged, or Lanczos where a side grows."""
    if interpolation is not None:
        return _FILTERS[interpolation]
    grows = resized[0] > original[0] or resized[1] > original[1]
    return Image.Resampling.LANCZOS if grows else Image.Resampling.BOX


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 to 8), 1 when there is none.

    A PNG's EXIF behind its pixels is left alone: to find it, Pillow decodes the whole picture.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    found = image.getexif().get(_ORIENTATION)
    return found if isinstance(found, int) else 1


def _upright_size(image: Image.Image) -> Size:
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def _rgb(image: Image.Image) -> Image.Image:
    """Return the first frame as 8-bit RGB."""
    if image.mode.startswith("I"):
        # convert("RGB") would clip: everything above 255 would be white
        grey = np.clip(np.rint(np.asarray(image, dtype=np.float32) / 257), 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "P":
        # a palette with transparency goes to RGB only by way of RGBA, else Pillow warns
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = "no picture format that can be read" if isinstance(error, UnidentifiedImageError) else str(error)
    return DataError(f"cannot be decoded: {reason or type(error).__name__}", where=str(path), fix="repair or remove it")


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
