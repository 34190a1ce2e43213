"""Which slot a key has: sorted columns of 16-byte keys, 20 bytes an entry, searched many at a time."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
MISSING = -1
_HALVES = struct.Struct("<QQ")

Halves = NDArray[np.uint64]  # n,2: the two halves of each key


def halves(keys: NDArray[np.uint8]) -> Halves:
    """Return keys (n,16) as two numbers each."""
    return np.ascontiguousarray(keys, dtype=np.uint8).view("<u8")


def key_halves(key: bytes) -> tuple[int, int]:
    """Return one key as two numbers; ValueError when it has not 16 bytes."""
    if len(key) != KEY_BYTES:
        message = f"a key has {KEY_BYTES} bytes, not {len(key)}"
        raise ValueError(message)
    high, low = _HALVES.unpack(key)
    return high, low


def key_bytes(high: int, low: int) -> bytes:
    """Return the key that has these halves."""
    return _HALVES.pack(high, low)


class KeyTable:
    """Keys with their slots; of two slots with one key, the one that came first is found."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []  # each key stands in one run only

    def __len__(self) -> int:
        return sum(len(run.slots) for run in self._runs)

    def find(self, keys: Halves) -> NDArray[np.int64]:
        """Return the slot of each key, MISSING where there is none."""
        found = np.full(len(keys), MISSING, dtype=np.int64)
        for run in self._runs:
            np.maximum(found, run.find(keys), out=found)
        return found

    def slot(self, high: int, low: int) -> int:
        """Return the slot of one key, as ``find`` does, without its cost for a single one."""
        for run in self._runs:
            start = int(run.high.searchsorted(np.uint64(high)))
            for at in range(start, min(start + run.ties, len(run.slots))):
                if run.high.item(at) == high and run.low.item(at) == low:
                    return run.slots.item(at)
        return MISSING

    def add(self, keys: Halves, slots: NDArray[np.int64]) -> None:
        """Take in further keys; those that are known keep their slots.

        Runs are merged when they come near in size (as a log-structured tree does), so that adding a few keys at a
        time to a million does not sort the million each time.
        """
        new = self.find(keys) == MISSING
        if not new.any():
            return
        run = _sorted_run(keys[new], slots[new].astype(np.int32))
        while self._runs and len(self._runs[-1].slots) < 2 * len(run.slots):
            last = self._runs.pop()
            both = np.stack([np.concatenate([last.high, run.high]), np.concatenate([last.low, run.low])], axis=1)
            run = _sorted_run(both, np.concatenate([last.slots, run.slots]))
        self._runs.append(run)

    def drop(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], Halves]:
        """Remove the keys of some slots; return those slots that keys led to, and the keys."""
        dropped = [(np.empty(0, np.int64), np.empty((0, 2), np.uint64))]
        runs: list[_Run] = []
        for run in self._runs:
            gone = np.isin(run.slots, slots)
            runs += run.without(gone)
            keys = np.stack([run.high[gone], run.low[gone]], axis=1)
            dropped.append((run.slots[gone].astype(np.int64), keys))
        self._runs = runs
        return np.concatenate([found for found, _ in dropped]), np.concatenate([keys for _, keys in dropped])


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Distinct keys in order."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    slots: NDArray[np.int32]
    ties: int  # the most keys that share their first half; 1 unless somebody counts instead of hashing

    def find(self, keys: Halves) -> NDArray[np.int64]:
        high, low = keys[:, 0], keys[:, 1]
        start = np.searchsorted(self.high, high)
        found = np.full(len(keys), MISSING, dtype=np.int64)
        for step in range(self.ties):
            at = np.minimum(start + step, len(self.high) - 1)
            hit = (self.high[at] == high) & (self.low[at] == low)
            found[hit] = self.slots[at[hit]]
        return found

    def without(self, gone: NDArray[np.bool_]) -> list[_Run]:
        if not gone.any():
            return [self]
        if gone.all():
            return []
        return [_Run(self.high[~gone], self.low[~gone], self.slots[~gone], self.ties)]


def _sorted_run(keys: Halves, slots: NDArray[np.int32]) -> _Run:
    """Return keys in order, without those that came before; both sorts keep the order of equals."""
    high, low = keys[:, 0], keys[:, 1]
    order = np.argsort(high, kind="stable")
    in_order, low_in_order = high[order], low[order]
    tied = in_order[1:] == in_order[:-1]
    if (tied & (low_in_order[1:] != low_in_order[:-1])).any():
        order = np.lexsort((low, high))
    high, low, slots = high[order], low[order], slots[order]
    first = np.ones(len(high), dtype=np.bool_)
    first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    high, low, slots = high[first], low[first], slots[first]
    starts = np.flatnonzero(np.concatenate([[True], high[1:] != high[:-1], [True]]))
    return _Run(high, low, slots, int(np.diff(starts).max()))
