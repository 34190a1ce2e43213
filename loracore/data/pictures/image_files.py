"""Which picture files can be read, and how they are opened; whatever is wrong with one names the file."""

from __future__ import annotations

import struct
import warnings
from contextlib import contextmanager, suppress
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, UnidentifiedImageError

from loracore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL.ImageFile import ImageFile

#: What Pillow opens but does not decode by itself, or what is no picture to train on.
_LEFT_OUT = frozenset(
    {
        *("BUFR", "GRIB", "HDF5"),  # weather and science data: stubs without a decoder
        "EPS",  # .eps, .ps: programs, run by Ghostscript
        "FITS",  # measurements: no value stands for white
        "IM",  # being removed from Pillow, which warns whenever it meets one
        "IPTC",  # .iim: news records
        "MPEG",  # films, of which only the size is read
        "WMF",  # .wmf, .emf: drawings, rendered by Windows alone
        *("IMT", "MCIDAS", "SPIDER", "XVTHUMB"),  # without an extension of their own, and hardly told from other data
    }
)

#: Packages that teach Pillow a format when they are imported, by extension; the first that is installed will do.
_TEACHERS = MappingProxyType(
    {
        ".avif": ("pillow_avif",),  # needed before Pillow 11.3
        ".jxl": ("pillow_jxl", "jxlpy.JXLImagePlugin"),
    }
)

#: Above a gigapixel a file is taken for a mistake: as RGB it would fill 4 GB.
_MOST_PIXELS = 10**9

#: What Pillow's readers raise to say that a file is not of their format; the same list as in ``Image.open``.
_NOT_MINE = (SyntaxError, IndexError, TypeError, struct.error)


def readable_suffixes() -> frozenset[str]:
    """Return the extensions, in lower case, of all pictures that Pillow can decode here, .jxl included if taught.

    Not taken, although Pillow knows them: .ps .eps (programs), .wmf .emf (drawings), .mpg .mpeg (films), .pdf (only
    written), .bufr .grib .h5 .hdf .fit .fits (measurements), .iim (news records), .im (on its way out of Pillow).
    """
    _learn()
    readable = {*_formats(), "MPO"}  # read as JPEG, so that Pillow lists no reader of its own
    return frozenset(suffix.lower() for suffix, name in Image.registered_extensions().items() if name in readable)


@contextmanager
def open_picture(path: Path) -> Iterator[ImageFile]:
    """Open a picture at its first frame; whatever fails before it is closed is a DataError that names the file.

    Pillow's limit of 89 megapixels, a warning and at twice as much an error, guards servers against strangers. Here
    the files are the user's own and scans may be large, so the limit is a gigapixel, and nothing is warned of. TIFF,
    WebP, GIF, ICO and a few rare formats keep Pillow's 178 megapixels, which stand inside their readers.
    """
    try:
        with path.open("rb") as file:
            image = _identified(file)
            _refuse_giants(image.size, path)
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on broken files
        raise _unreadable(path, error) from error


def decode(image: Image.Image) -> None:
    """Read the pixels, without Pillow's warning about many of them."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or image.width * image.height <= limit:
        image.load()
        return
    # Filters are the whole process's, not the thread's: they are touched only where a reader could warn.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image.load()


def _formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read, those first that are met most."""
    Image.preinit()  # BMP, GIF, JPEG, PPM, PNG
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _LEFT_OUT)


def _learn() -> None:
    """Let installed packages teach Pillow the formats that it cannot read by itself."""
    for suffix, module in ((suffix, module) for suffix, modules in _TEACHERS.items() for module in modules):
        if Image.registered_extensions().get(suffix) not in Image.OPEN:
            with suppress(ImportError):  # optional
                import_module(module)


def _identified(file: BinaryIO) -> ImageFile:
    """Return the picture as the first reader gives it that takes the file.

    This is the search of ``Image.open``, which cannot be told to leave out its limit of size.
    """
    found = _search(file)
    if found is None:  # a process that did not scan, such as a loader's worker, has not learnt yet
        _learn()
        found = _search(file)
    if found is None:
        raise UnidentifiedImageError
    return found


def _search(file: BinaryIO) -> ImageFile | None:
    file.seek(0)
    prefix = file.read(16)
    for name in _formats():
        reader, accepts = Image.OPEN[name]
        with suppress(*_NOT_MINE):  # of files of a few bytes, some readers cannot even look at the beginning
            if accepts is not None and accepts(prefix) is not True:  # text is a reason why not
                continue
            file.seek(0)
            # without its name, Pillow cannot map the file: it scrambles a mapped TIFF that lies on its side
            return reader(file, "")
    return None


def _refuse_giants(size: tuple[int, int], path: Path) -> None:
    width, height = size
    if width * height > _MOST_PIXELS:
        raise DataError(f"is {width}x{height}: above a gigapixel", where=str(path), fix="make it smaller, or remove it")


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, Image.DecompressionBombError):
        reason = f"{error.args[0].partition(',')[0]} for this format"
        return DataError(reason, where=str(path), fix="make it smaller, or save it as PNG or JPEG")
    reason = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        empty = path.stat().st_size == 0
        reason = "the file is empty" if empty else "no picture format that can be read"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror  # without the path, which stands in front already
    return DataError(f"cannot be decoded: {reason}", where=str(path), fix="repair, convert or remove it")
