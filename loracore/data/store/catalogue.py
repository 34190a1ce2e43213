"""What a folder of shards holds, read from its indexes; what is damaged there is left out and told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loracore.data.store.keys import MISSING, Halves, KeyTable
from loracore.data.store.records import RECORD, IndexPart, checks, index_bytes, read_index
from loracore.data.store.slots import Place, SlotTable

INDEX_SUFFIX = ".index"
DATA_SUFFIX = ".data"


class Stretch(NamedTuple):
    """Records in a row of a shard's index, which took slots in a row."""

    shard: str
    first: int
    length: int


class Catalogue:
    """The entries of a folder's shards by slot and key.

    Slots are numbered as records are met. ``stretches`` of another process's catalogue make this one number its slots
    alike, whatever has been written since; ``refresh`` brings the rest.
    """

    def __init__(self, folder: Path, stretches: Iterable[Stretch] | None = None) -> None:
        self._folder = folder
        self._keys = KeyTable()
        self._slots = SlotTable()
        self._shards: list[str] = []
        self._seen: dict[str, int] = {}  # records of each shard that have slots
        self._sizes: dict[str, int] = {}  # of each index when it was last read
        self._voids: set[tuple[int, int, int]] = set()  # halves of the key, check of the record
        self._notes: dict[str, str] = {}
        if stretches is None:
            for name in self.look(self._listed()):
                self._note(self._index(name), "it ends within a record; what was cut off is made again")
        else:
            for stretch in stretches:
                self._take([(stretch.shard, _fitted(read_index(self._index(stretch.shard), stretch.first), stretch))])

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def notes(self) -> tuple[str, ...]:
        """Give what could not be used, a sentence a file."""
        return tuple(self._notes.values())

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Give what another process needs to number its slots alike."""
        return tuple(Stretch(self._shards[number], first, length) for number, first, length in self._slots.segments)

    def find(self, keys: Halves) -> NDArray[np.int64]:
        """Return the slot of each key, MISSING where there is none."""
        return self._keys.find(keys)

    def slot(self, high: int, low: int) -> int:
        """Return the slot of one key, MISSING when there is none."""
        return self._keys.slot(high, low)

    def place(self, slot: int) -> tuple[str, Place]:
        """Return the shard of a slot's entry and its place there; IndexError for a number that is no slot."""
        place = self._slots[slot]
        return self._shards[place.shard], place

    def places(self, slots: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.void]]]:
        """Give each shard that has some of the slots with these, and with their places there in columns."""
        places = self._slots.many(slots)
        for shard in np.unique(places["shard"]).tolist():
            own = places["shard"] == shard
            yield self._shards[shard], slots[own], places[own]

    def drop(self, slots: Sequence[int]) -> list[tuple[int, tuple[int, int]]]:
        """Let no key lead to some slots any more; return those that keys led to, with the keys."""
        found, keys = self._keys.drop(np.array(slots, dtype=np.int64))
        return [(slot, (high, low)) for slot, (high, low) in zip(found.tolist(), keys.tolist(), strict=True)]

    def note_forgotten(self, shard: str, count: int) -> None:
        """Tell once of a shard some of whose entries were found to be damaged."""
        self._note(self._folder / (shard + DATA_SUFFIX), f"{count} of its entries are damaged; they are made again")

    def refresh(self) -> None:
        """Take in what other processes have written since; where nothing was written this looks at sizes only."""
        self.look(self._listed())

    def look(self, names: Iterable[str]) -> list[str]:
        """Take in what is new in some shards; return those whose index ends within a record."""
        sizes = {name: file_size(self._index(name)) for name in names}
        grown = [name for name, size in sizes.items() if size != self._sizes.get(name)]
        parts = [(name, read_index(self._index(name), self._seen.get(name, 0))) for name in grown]
        self._sizes.update(sizes)
        self._take(parts)
        return [name for name, part in parts if part.ends_within]

    def _take(self, parts: Sequence[tuple[str, IndexPart]]) -> None:
        """Give slots to records, then keys to those that are entries and that no void names."""
        taken = [self._register(name, part) for name, part in parts]
        if not taken:
            return
        records = np.concatenate([found for found, _ in taken])
        slots = np.concatenate([found for _, found in taken])
        counts = ~self._voided(records)
        self._keys.add(records["key"][counts], slots[counts])

    def _register(self, name: str, part: IndexPart) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """Return the entries among a shard's new records, with their slots."""
        if part.problem:
            lost = max(0, (file_size(self._index(name)) - index_bytes(0)) // RECORD.itemsize)
            self._note(self._index(name), f"{part.problem}; its {lost} cached entries are made again")
        if name not in self._seen:
            self._shards.append(name)
        records, offset, length = part.records, part.records["offset"], part.records["length"]
        sound = checks(records, part.seed) == records["check"]
        void = sound & (length == 0)
        end = np.uint64(file_size(self._folder / (name + DATA_SUFFIX)))  # after the index was read: data comes first
        usable = sound & (length > 0) & (offset <= end) & (length <= end - np.minimum(offset, end))
        first = self._slots.add(self._shards.index(name), self._seen.get(name, 0), records, usable)
        self._seen[name] = self._seen.get(name, 0) + len(records)
        self._note_damage(name, int(np.count_nonzero(~sound)), int(np.count_nonzero(sound & ~void & ~usable)))
        self._void(records[void])
        rows = np.flatnonzero(usable)
        return records[rows], first + rows

    def _void(self, records: NDArray[np.void]) -> None:
        voided: list[int] = []
        for (high, low), check, _, _ in records.tolist():
            self._voids.add((high, low, check))
            slot = self._keys.slot(high, low)
            if slot != MISSING and self._slots[slot].check == check:
                voided.append(slot)
        if voided:
            self.drop(voided)

    def _voided(self, records: NDArray[np.void]) -> NDArray[np.bool_]:
        """Tell which records count no more; few share their check with a void, so that few are looked up."""
        checks_of_voids = np.array([check for _, _, check in self._voids], dtype=np.uint32)
        found = np.isin(records["check"], checks_of_voids)
        for at in np.flatnonzero(found).tolist():
            (high, low), _, _, check = records[at].tolist()
            found[at] = (high, low, check) in self._voids
        return found

    def _note_damage(self, name: str, damaged: int, without_data: int) -> None:
        if damaged:
            self._note(self._index(name), f"{damaged} of its records are damaged; these entries are made again")
        if without_data:
            path = self._folder / (name + DATA_SUFFIX)
            self._note(path, f"it lacks the bytes of {without_data} cached entries; they are made again")

    def _note(self, path: Path, trouble: str) -> None:
        self._notes.setdefault(str(path), f"{path}: {trouble}")  # the first trouble of a file says enough

    def _listed(self) -> list[str]:
        try:
            with os.scandir(self._folder) as found:
                names = [entry.name for entry in found]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._note(self._folder, f"{error.strerror}; nothing that is cached there can be used")
            return []
        return sorted(name[: -len(INDEX_SUFFIX)] for name in names if name.endswith(INDEX_SUFFIX))

    def _index(self, name: str) -> Path:
        return self._folder / (name + INDEX_SUFFIX)


def file_size(path: Path) -> int:
    """Return a file's size, 0 when it cannot be told.

    ``DirEntry.stat`` would not do: on Windows it lags behind while another process has the file open.
    """
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _fitted(part: IndexPart, stretch: Stretch) -> IndexPart:
    """Return as many records as the stretch had, damaged ones for those that are gone."""
    records = np.zeros(stretch.length, RECORD)
    there = part.records[: stretch.length]
    records[: len(there)] = there
    return IndexPart(records, part.seed, part.problem)
