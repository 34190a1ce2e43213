"""Cached tensors in memory, for runs that keep nothing on the disk."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from loracore.data.store.entries import DamagedEntryError, Encoded, Entry, decode, encode, parse_layout
from loracore.data.store.keys import MISSING, halves, key_halves

_LAYOUTS = 1024
_State: TypeAlias = tuple[dict[tuple[int, int], int], list[bytes | None]]


class MemoryStore:
    """Entries by key in this process's memory, copied in and read-only as those on the disk are.

    A forked or pickled copy has what was flushed until then; what it appends stays its own.
    """

    def __init__(self) -> None:
        self.__setstate__(({}, []))

    def __getstate__(self) -> _State:
        return self._slots, self._entries

    def __setstate__(self, state: _State) -> None:
        self._slots, self._entries = state
        self._pending: dict[bytes, Encoded] = {}
        self._layouts = lru_cache(_LAYOUTS)(parse_layout)

    @property
    def shared(self) -> bool:
        """Tell that no other process fills it."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """Give nothing: what was stored in memory is not damaged."""
        return ()

    def find(self, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the slot of each key (n,16), -1 where none is stored."""
        known = (self._slots.get((high, low), MISSING) for high, low in halves(keys).tolist())
        return np.fromiter(known, dtype=np.int64, count=len(keys))

    def slot(self, key: bytes) -> int:
        """Return the slot of one key, -1 when none is stored."""
        return self._slots.get(key_halves(key), MISSING)

    def read(self, slot: int) -> Entry:
        """Return an entry, read-only; DamagedEntryError when it was forgotten."""
        if slot < 0:
            message = f"no slot {slot}"
            raise IndexError(message)
        data = self._entries[slot]
        if data is None:
            raise DamagedEntryError("a cached entry was forgotten", fix="start again: it is made anew")
        return decode(memoryview(data), 0, self._layouts)

    def read_key(self, key: bytes) -> Entry | None:
        """Return the entry of a key, None when none is stored."""
        slot = self.slot(key)
        return None if slot == MISSING else self.read(slot)

    def ensure_writable(self) -> None:
        """Do nothing: memory can be written to."""

    def append(self, key: bytes, entry: Entry) -> None:
        """Copy an entry, to be found after the next ``flush``; a key that is there keeps its entry."""
        if key not in self._pending and self.slot(key) == MISSING:
            self._pending[key] = encode(entry)

    def damaged(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those slots whose entries were forgotten; slots of -1 are left out."""
        return np.array([slot for slot in slots.tolist() if slot >= 0 and self._entries[slot] is None], dtype=np.int64)

    def forget(self, *slots: int) -> None:
        """Let no key lead to some entries any more, so that they can be appended anew."""
        for slot in slots:
            self.read(slot)
            self._entries[slot] = None
        gone = frozenset(slots)
        self._slots = {key: found for key, found in self._slots.items() if found not in gone}

    def flush(self) -> None:
        """Let what was appended be found."""
        for key, encoded in self._pending.items():
            self._slots[key_halves(key)] = len(self._entries)
            self._entries.append(b"".join(encoded.chunks(0)))
        self._pending = {}

    def refresh(self) -> None:
        """Do nothing: no other process writes here."""

    def usage(self) -> tuple[int, int]:
        """Return the number of entries that are found and their bytes."""
        return len(self._slots), sum(len(data) for data in self._entries if data is not None)

    def close(self) -> None:
        """Let what was appended be found; a later ``read`` still answers, as the store on the disk does."""
        self.flush()
