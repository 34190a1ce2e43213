"""What a .safetensors file says of its tensors before any is read; no torch here."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loracore.errors import DataError

Shape = tuple[int, ...]

#: Endings of files that torch.save writes.
_PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin"})

#: Where a network's file tells the kind of model that it was trained on.
BASE_VERSION = "ss_base_model_version"

#: Bytes of one number, by the format's words; of words that are not here a header is believed.
_SIZES: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"), 1),
        **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
        **dict.fromkeys(("U32", "I32", "F32"), 4),
        **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
    }
)
_CURE = "download it again, or give another file"

#: The format's limit; a larger number is no length but another kind of file.
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """The names, shapes, metadata and dtypes of a file's tensors."""

    path: Path
    shapes: Mapping[str, Shape]
    metadata: Mapping[str, str]
    dtypes: Mapping[str, str] = field(default_factory=dict)  # as the format spells them: "F16", "BF16", "F8_E4M3"
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # first byte in the file, and the one behind


def read_header(path: Path) -> Header:
    """Return the header of a .safetensors file.

    Raises DataError when the file is missing, of another format, or shorter than its header says (a download that broke
    off). The format is 8 bytes of length (little endian), that much JSON, then the tensors' bytes
    (https://github.com/huggingface/safetensors, "Format").
    """
    try:
        table, size, first = _read_json(path)
        tensors = {name: entry for name, entry in table.items() if name != "__metadata__"}
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in tensors.items()}
        dtypes = {name: str(entry["dtype"]) for name, entry in tensors.items()}
        places = {name: _place(entry["data_offsets"], first) for name, entry in tensors.items()}
        end = max((place[1] - first for place in places.values()), default=0)
        metadata = {str(key): str(value) for key, value in table.get("__metadata__", {}).items()}
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        raise DataError(message, where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        message = "this is not a .safetensors file, or it is damaged"
        raise DataError(message, where=str(path), fix=_CURE) from error
    if end > size:
        message = f"the file is cut off: {_amount(end - size)} of its tensors are missing"
        raise DataError(message, where=str(path), fix="download it again")
    header = Header(path, shapes, metadata, dtypes, places)
    _check_sizes(header)
    return header


def adapter_header(path: str | None) -> Header:
    """Return what a file of a network says of its tensors; nothing without a file, and of a pickle."""
    found = Path(path or "")
    return Header(found, {}, {}) if path is None or is_pickle(found) else read_header(found)


def is_pickle(path: Path) -> bool:
    """Tell by its ending, in capitals or not, whether torch.save wrote a file."""
    return path.suffix.lower() in _PICKLES


def pickle_refused(path: Path) -> DataError:
    """Return the error that a pickle was given without leave."""
    message = "this is a pickle, which can hold code that runs when it is read"
    fix = "give a .safetensors file, or add allow_pickle to read it as weights only"
    return DataError(message, where=str(path), fix=fix)


def _amount(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    if count < 2**10:
        return f"{count} byte{'s' if count > 1 else ''}"
    return f"{count / 2**10:.1f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"


def _check_sizes(header: Header) -> None:
    """Raise DataError for a tensor whose bytes are not those of its shape."""
    for name, (start, end) in header.places.items():
        shape, size = header.shapes[name], _SIZES.get(header.dtypes[name])
        if size is not None and end - start != size * math.prod(shape):
            message = f"'{name}' has {end - start} bytes, which are not those of its shape {list(shape)}"
            raise DataError(f"{message}: the file is damaged", where=str(header.path), fix=_CURE)


def _place(offsets: Sequence[int], first: int) -> tuple[int, int]:
    start, end = (first + int(offset) for offset in offsets)
    return start, end


def _read_json(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header's table, the number of bytes behind it, and where these begin."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _LONGEST_HEADER:
            message = f"header of {length} bytes"
            raise ValueError(message)
        table = json.loads(file.read(length).decode("utf-8"))
    return table, path.stat().st_size - 8 - length, 8 + length
