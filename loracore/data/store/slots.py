"""Where the entry of each slot lies: growing columns, 20 bytes an entry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_PLACE = np.dtype([("offset", "<u8"), ("length", "<u4"), ("check", "<u4"), ("shard", "<u4")])
_GROWTH = 1.2  # with the keys, at most 44 bytes an entry


class Place(NamedTuple):
    """Where an entry lies; length 0: nowhere, its record is damaged or a void."""

    offset: int
    length: int
    check: int
    shard: int  # number of the shard


class Segment(NamedTuple):
    """Slots in a row whose records stand in a row in one shard's index."""

    shard: int
    first: int  # record
    length: int


class SlotTable:
    """The place of each slot. Each whole record takes a slot, even a damaged one, so that segments tell all."""

    def __init__(self) -> None:
        self._places = np.empty(0, _PLACE)
        self._count = 0
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, slot: int) -> Place:
        if not 0 <= slot < self._count:
            message = f"no slot {slot} of {self._count}"
            raise IndexError(message)
        return Place(*self._places.item(slot))

    def many(self, slots: NDArray[np.int64]) -> NDArray[np.void]:
        """Return the places of many slots: columns offset, length, check and shard, as in ``Place``."""
        places: NDArray[np.void] = self._places[: self._count][slots]
        return places

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Give what another process needs to number the slots alike."""
        return tuple(self._segments)

    def add(self, shard: int, first: int, records: NDArray[np.void], usable: NDArray[np.bool_]) -> int:
        """Give slots to the records of a shard from number ``first`` on; return the first slot."""
        start, stop = self._count, self._count + len(records)
        if stop > len(self._places):
            grown = np.empty(max(stop, int(self._count * _GROWTH)), _PLACE)
            grown[:start] = self._places[:start]
            self._places = grown
        new = self._places[start:stop]
        new["offset"], new["check"], new["shard"] = records["offset"], records["check"], shard
        new["length"] = np.where(usable, records["length"], 0)
        self._count = stop
        self._continue(Segment(shard, first, len(records)))
        return start

    def _continue(self, new: Segment) -> None:
        last = self._segments[-1] if self._segments else None
        if last is not None and (last.shard, last.first + last.length) == (new.shard, new.first):
            self._segments[-1] = last._replace(length=last.length + new.length)
        elif new.length:
            self._segments.append(new)
