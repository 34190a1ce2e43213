"""What every store of cached tensors can do, so that those who fill and read it have one path."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loracore.data.store.entries import Entry


class CacheStore(Protocol):
    """Entries by key (16 bytes, made by the caller from all that decides the content) and by slot.

    A slot is a number that stays an entry's own for the life of the store and of its pickled copies. One thread may
    append; any number may read.
    """

    @property
    def shared(self) -> bool:
        """Tell whether other processes may fill the store at the same time."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Give what could not be used of what was stored, a sentence a file; it is made again."""

    def find(self, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the slot of each key (n,16), -1 where none is stored."""

    def slot(self, key: bytes) -> int:
        """Return the slot of one key, -1 when none is stored."""

    def read(self, slot: int) -> Entry:
        """Return an entry, read-only and perhaps lying on a file; DamagedEntryError when its bytes are not whole."""

    def read_key(self, key: bytes) -> Entry | None:
        """Return the entry of a key, None when none is stored."""

    def ensure_writable(self) -> None:
        """Raise DataError where ``append`` would, before costly work for it is begun."""

    def append(self, key: bytes, entry: Entry) -> None:
        """Copy an entry, to be stored and found after the next ``flush``; a key that is there keeps its entry."""

    def damaged(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those slots whose entries are not where they should be; slots of -1 are left out.

        Only how each entry begins is looked at, not its tensors: many are checked in no time.
        """

    def forget(self, *slots: int) -> None:
        """Let no key lead to damaged entries any more, so that they can be made anew; kept at the next ``flush``."""

    def flush(self) -> None:
        """Store what was appended."""

    def refresh(self) -> None:
        """Find what other processes have stored since; slots stay as they are."""

    def usage(self) -> tuple[int, int]:
        """Return the number of entries that are found and the bytes that the store takes."""

    def close(self) -> None:
        """Store what was appended and let go of all files."""
