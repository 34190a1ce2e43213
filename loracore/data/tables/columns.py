"""Many short texts in two arrays: a row costs its bytes and an offset, and the arrays may lie in a mapped file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Names of files may hold what is no Unicode (Python's surrogates); they come back as they were.
ENCODING, ERRORS = "utf-8", "surrogatepass"

_LARGEST_SHORT = 2**32  # bytes, up to which an offset takes four bytes
_GATHERED = 1 << 12  # rows that are gathered at once: their bytes need 24 times their memory meanwhile


@dataclass(frozen=True, eq=False, slots=True)
class TextColumn:
    """Texts by row; nothing is decoded before it is asked for."""

    blob: NDArray[np.uint8]  # UTF-8 of all rows, one behind the other
    offsets: NDArray[np.unsignedinteger[Any]]  # rows + 1

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> TextColumn:
        """Return the texts as a column."""
        return cls.from_encoded([text.encode(ENCODING, ERRORS) for text in texts])

    @classmethod
    def from_encoded(cls, texts: Sequence[bytes]) -> TextColumn:
        """Return texts that are UTF-8 already as a column."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        return cls(np.frombuffer(b"".join(texts), np.uint8), offsets_of(lengths))

    @classmethod
    def empty(cls, rows: int) -> TextColumn:
        """Return a column of empty texts."""
        return cls(np.zeros(0, np.uint8), np.zeros(rows + 1, np.uint32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        """Return the text of a row, 0 or more."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.blob[int(self.offsets[row]) : int(self.offsets[row + 1])].tobytes().decode(ENCODING, ERRORS)

    def __iter__(self) -> Iterator[str]:
        blob = self.blob.data
        start = 0
        for end in self.offsets[1:]:
            yield str(blob[start : int(end)], ENCODING, ERRORS)
            start = int(end)

    def take(self, rows: NDArray[np.integer[Any]]) -> TextColumn:
        """Return the given rows, in their order, as a column of its own."""
        starts = self.offsets[:-1][rows].astype(np.int64)
        lengths = self.offsets[1:][rows].astype(np.int64) - starts
        offsets = offsets_of(lengths)
        blob = np.empty(int(offsets[-1]), np.uint8)
        for first in range(0, len(rows), _GATHERED):
            part = slice(first, first + _GATHERED)
            begin, end = int(offsets[first]), int(offsets[min(first + _GATHERED, len(rows))])
            shifts = starts[part] - offsets[:-1][part].astype(np.int64)
            blob[begin:end] = self.blob[np.arange(begin, end) + np.repeat(shifts, lengths[part])]
        return TextColumn(blob, offsets)

    def joined(self, other: TextColumn) -> TextColumn:
        """Return the rows of this column and then those of the other."""
        lengths = np.concatenate([np.diff(self.offsets), np.diff(other.offsets)])
        return TextColumn(np.concatenate([self.blob, other.blob]), offsets_of(lengths))


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    """Return where texts of these lengths (bytes) begin, and where the last one ends; as narrow as they fit."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets.astype(np.uint32 if offsets[-1] < _LARGEST_SHORT else np.uint64)
