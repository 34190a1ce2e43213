"""One cached entry: named tensors as raw bytes, and the bytes that hold them in a shard."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from loracore.errors import DataError

#: Tensors begin at multiples of this within an entry, and entries within a shard: a cache line, enough for any dtype.
ALIGNMENT = 64

#: Bytes of one element, by the name that safetensors gives the dtype.
ITEM_BYTES = MappingProxyType(
    {
        **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
        **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
        **dict.fromkeys(("U32", "I32", "F32"), 4),
        **dict.fromkeys(("U64", "I64", "F64"), 8),
    }
)

_MOST_BYTES = (1 << 32) - (1 << 20)  # a record tells the length in 32 bits; the rest is room for the layout
_PREFIX = struct.Struct("<II")  # the check of the entry's record, the bytes of the layout that follow


class DamagedEntryError(DataError):
    """A cached entry whose bytes are not what its record promised; ``forget`` its slot, and it is made again."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as raw bytes: row-major, little-endian. What a store returns may lie on a file: it is read-only."""

    dtype: str  # as safetensors spells it: F32, BF16, I64, ...
    shape: tuple[int, ...]
    data: memoryview  # of bytes


Entry: TypeAlias = Mapping[str, StoredTensor]


class Field(NamedTuple):
    """Where one tensor lies in an entry's bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Layout(NamedTuple):
    """Where all tensors lie in an entry's bytes."""

    fields: tuple[Field, ...]
    length: int  # of the whole entry


class Encoded(NamedTuple):
    """An entry's bytes, but for the prefix, which its place in a shard decides."""

    layout: bytes  # JSON, filled up with spaces so that the tensors begin aligned
    tensors: bytes

    @property
    def length(self) -> int:
        """Give the bytes of the whole entry, prefix included."""
        return _PREFIX.size + len(self.layout) + len(self.tensors)

    def chunks(self, check: int) -> tuple[bytes, ...]:
        """Return the bytes of the whole entry in parts, under the check of its record."""
        return _PREFIX.pack(check, len(self.layout)), self.layout, self.tensors


def aligned(position: int) -> int:
    """Return the first multiple of ALIGNMENT that is not before ``position``."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return how many bytes a tensor takes; ValueError for an unknown dtype or a negative size."""
    if dtype not in ITEM_BYTES or min(shape, default=0) < 0:
        message = f"no tensor that can be stored: {dtype} {shape}"
        raise ValueError(message)
    return ITEM_BYTES[dtype] * math.prod(shape)


def encode(entry: Entry) -> Encoded:
    """Return an entry as bytes, copied; ValueError when a tensor's bytes do not fit its dtype and shape."""
    for name, tensor in entry.items():
        if tensor.data.nbytes != tensor_bytes(tensor.dtype, tensor.shape):
            message = f"{name}: {tensor.data.nbytes} bytes do not fit {tensor.dtype} {tensor.shape}"
            raise ValueError(message)
    if sum(tensor.data.nbytes for tensor in entry.values()) > _MOST_BYTES:
        raise ValueError("an entry cannot be larger than 4 GiB")
    told = [(name, tensor.dtype, tensor.shape) for name, tensor in entry.items()]
    layout = json.dumps(told, separators=(",", ":")).encode()
    layout = layout.ljust(aligned(_PREFIX.size + len(layout)) - _PREFIX.size)
    position = _PREFIX.size + len(layout)
    chunks: list[bytes | memoryview] = []
    for tensor in entry.values():
        chunks += [bytes(aligned(position) - position), tensor.data]
        position = aligned(position) + tensor.data.nbytes
    return Encoded(layout, b"".join(chunks))


def parse_layout(header: bytes) -> Layout:
    """Return the layout that an entry's JSON describes; ValueError when it describes none."""
    fields: list[Field] = []
    position = _PREFIX.size + len(header)
    try:
        for name, dtype, sizes in json.loads(header):
            shape = tuple(int(size) for size in sizes)
            start = aligned(position)
            position = start + tensor_bytes(dtype, shape)
            fields.append(Field(str(name), dtype, shape, start, position))
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return Layout(tuple(fields), position)


def decode(data: memoryview, check: int, parsed: Callable[[bytes], Layout]) -> Entry:
    """Return the tensors of an entry, as views of its bytes; ValueError when they are not the entry of this check."""
    if len(data) < _PREFIX.size:
        raise ValueError("the file ends before it")
    found, size = _PREFIX.unpack_from(data)
    if found != check:
        raise ValueError("another entry stands in its place")
    layout = parsed(bytes(data[_PREFIX.size : _PREFIX.size + size]))
    if layout.length != len(data):
        raise ValueError("its tensors have other sizes")
    return {name: StoredTensor(dtype, shape, data[start:stop]) for name, dtype, shape, start, stop in layout.fields}
