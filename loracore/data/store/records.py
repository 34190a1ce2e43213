"""The index of a shard: a header and fixed-size records, read all at once and checked one by one."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: One record. ``length`` 0 makes it a void: of this key, the record whose check is ``offset`` counts no more.
RECORD = np.dtype([("key", "<u8", (2,)), ("offset", "<u8"), ("length", "<u4"), ("check", "<u4")])

_MAGIC = b"lcTensor"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQ8x")  # magic, version, bytes of a record, seed of the shard's checks
HEADER_BYTES = _HEADER.size

_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, near 2**64 / golden ratio: spreads every bit upwards (Knuth 6.4)
_SHIFT = np.uint64(29)
_HIGH_HALF = np.uint64(32)


@dataclass(frozen=True, slots=True, eq=False)
class IndexPart:
    """What could be read of an index, from some record on."""

    records: NDArray[np.void]  # of RECORD, whole ones only, unchecked
    seed: int = 1  # never 0: zeros must not pass for a record
    problem: str = ""  # why nothing could be read
    ends_within: bool = False  # a record or the header is cut; or another process is writing it just now


def header(seed: int) -> bytes:
    """Return what an index begins with; the seed makes one shard's checks differ from another's."""
    return _HEADER.pack(_MAGIC, _VERSION, RECORD.itemsize, seed)


def checks(records: NDArray[np.void], seed: int) -> NDArray[np.uint32]:
    """Return the checksum of each record; zeros, which a crash may leave in a file, do not pass for a record."""
    # not a CRC: this needs ten passes over a column instead of a loop over a million records
    mixed = np.full(len(records), seed, dtype=np.uint64)
    keys = records["key"]
    for word in (keys[:, 0], keys[:, 1], records["offset"], records["length"]):
        mixed = (mixed ^ word) * _MIXER
        mixed ^= mixed >> _SHIFT
    high: NDArray[np.uint64] = mixed >> _HIGH_HALF
    return high.astype(np.uint32)


def read_index(path: Path, first: int) -> IndexPart:
    """Return the records of an index from number ``first`` on, or what is wrong with the file."""
    nothing = np.empty(0, RECORD)
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            file.seek(HEADER_BYTES + first * RECORD.itemsize)
            body = file.read()
    except FileNotFoundError:
        return IndexPart(nothing)
    except OSError as error:
        return IndexPart(nothing, problem=error.strerror or str(error))
    if len(head) < HEADER_BYTES:
        return IndexPart(nothing, ends_within=True)
    magic, version, record_bytes, seed = _HEADER.unpack(head)
    if magic != _MAGIC:
        return IndexPart(nothing, problem="this is no index of a cache")
    if (version, record_bytes) != (_VERSION, RECORD.itemsize):
        return IndexPart(nothing, problem=f"its format is version {version}, this loracore reads version {_VERSION}")
    whole, rest = divmod(len(body), RECORD.itemsize)
    return IndexPart(np.frombuffer(body, RECORD, whole), seed, ends_within=rest > 0)


def index_bytes(count: int) -> int:
    """Return how large an index of so many records is."""
    return HEADER_BYTES + count * RECORD.itemsize
