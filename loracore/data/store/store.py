"""Cached tensors in a folder that any number of runs and processes share, read and fill at once."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loracore.data.store.catalogue import DATA_SUFFIX, Catalogue, Stretch, file_size
from loracore.data.store.entries import DamagedEntryError, Encoded, Entry, decode, encode, parse_layout
from loracore.data.store.keys import MISSING, halves, key_bytes, key_halves
from loracore.data.store.maps import ShardMaps
from loracore.data.store.writer import ShardWriter, Void
from loracore.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

_LAYOUT = "v1"  # folder of this layout of files; another version of loracore that has another uses another
_SHARD_BYTES = 1 << 30
_FLUSH_BYTES = 1 << 25  # what may wait in memory
_LAYOUTS = 1024  # distinct names, dtypes and shapes that are remembered; a data set has some dozens

_CHECK_BYTES = 4  # each entry begins with the check of its record

_Refusal: TypeAlias = "DataError | ValueError | None"
_State: TypeAlias = tuple[Path, _Refusal, int, tuple[Stretch, ...]]


class Store:
    """Entries by key in a folder of shards, read through memory maps.

    Each process appends to shards of its own. A store may be forked and pickled: the copy has the same slots, leaves
    alone what waited to be flushed, and appends to new shards. Damaged shards are left as they are; what they lack is
    not found and told in ``notes``.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, shard_bytes: int = _SHARD_BYTES) -> None:
        """Open a folder, made where it is missing; DataError when that cannot be done, unless ``read_only``.

        One that is there and cannot be written to is read; DataError when something has to be appended.
        """
        refusal = ValueError("the store was opened for reading only") if read_only else _refusal(folder)
        self._start(folder, refusal, shard_bytes, Catalogue(folder / _LAYOUT))

    def _start(self, folder: Path, refusal: _Refusal, shard_bytes: int, catalogue: Catalogue) -> None:
        self._folder = folder
        self._refusal = refusal
        self._shard_bytes = shard_bytes
        self._catalogue = catalogue
        self._maps = ShardMaps(folder / _LAYOUT)
        self._layouts = lru_cache(_LAYOUTS)(parse_layout)
        self._begin_writing()

    def _begin_writing(self) -> None:
        self._process = os.getpid()
        self._writer = ShardWriter(self._folder / _LAYOUT, self._shard_bytes)
        self._pending: dict[bytes, Encoded] = {}
        self._pending_bytes = 0
        self._voids: list[Void] = []

    def __getstate__(self) -> _State:
        return self._folder, self._refusal, self._shard_bytes, self._catalogue.stretches

    def __setstate__(self, state: _State) -> None:
        folder, refusal, shard_bytes, stretches = state
        self._start(folder, refusal, shard_bytes, Catalogue(folder / _LAYOUT, stretches))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()  # after an error too: what was encoded until then is worth keeping

    @property
    def shared(self) -> bool:
        """Tell that other processes may fill it at the same time."""
        return True

    @property
    def notes(self) -> tuple[str, ...]:
        """Give what could not be used of what was stored, a sentence a file; it is made again."""
        return self._catalogue.notes

    def find(self, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the slot of each key (n,16), -1 where none is stored."""
        return self._catalogue.find(halves(keys))

    def slot(self, key: bytes) -> int:
        """Return the slot of one key, -1 when none is stored."""
        return self._catalogue.slot(*key_halves(key))

    def read(self, slot: int) -> Entry:
        """Return an entry, its tensors read-only views of the file; DamagedEntryError when its bytes are not whole."""
        name, place = self._catalogue.place(slot)
        data = name + DATA_SUFFIX
        try:
            found = self._maps.view(data, place.offset, place.offset + place.length)
            return decode(found, place.check, self._layouts)
        except (FileNotFoundError, ValueError) as error:
            raise DamagedEntryError(
                f"a cached entry cannot be read: {error}",
                where=str(self._folder / _LAYOUT / data),
                fix="start again: it is made anew",
            ) from error
        except OSError as error:  # too many open files, a network drive that is gone: the entry may be whole
            raise _unusable(self._folder, "read", error, "see that it can be read") from error

    def read_key(self, key: bytes) -> Entry | None:
        """Return the entry of a key, None when none is stored."""
        slot = self.slot(key)
        return None if slot == MISSING else self.read(slot)

    def ensure_writable(self) -> None:
        """Raise what ``append`` would where the folder cannot be written to, before costly work is begun."""
        if self._refusal is not None:
            raise self._refusal

    def append(self, key: bytes, entry: Entry) -> None:
        """Copy an entry, to be stored and found after the next ``flush``; a key that is there keeps its entry.

        Flushes by itself when much has gathered, so that it raises what ``flush`` raises.
        """
        self.ensure_writable()
        self._leave_parents_work()
        if key in self._pending or self.slot(key) != MISSING:
            return
        self._pending[key] = encode(entry)
        self._pending_bytes += self._pending[key].length
        if self._pending_bytes >= min(_FLUSH_BYTES, self._shard_bytes):
            self.flush()

    def damaged(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those slots whose entries do not begin with the check of their record; slots of -1 are left out.

        The tensors behind it are not looked at.
        """
        found = [np.empty(0, np.int64)]
        for shard, own, places in self._catalogue.places(slots[slots >= 0]):
            found.append(own[~self._begin_whole(shard + DATA_SUFFIX, places)])
        return np.concatenate(found)

    def _begin_whole(self, data: str, places: NDArray[np.void]) -> NDArray[np.bool_]:
        """Tell which entries of a shard lie in its file and begin with the check of their record."""
        offsets = places["offset"].astype(np.int64)
        stops = offsets + places["length"]
        size = file_size(self._folder / _LAYOUT / data)  # what lies behind it in an older map must not be touched
        whole: NDArray[np.bool_] = (places["length"] > 0) & (stops <= size) & (offsets % _CHECK_BYTES == 0)
        if not whole.any():
            return whole
        try:
            words = np.frombuffer(
                self._maps.view(data, 0, int(stops[whole].max()) // _CHECK_BYTES * _CHECK_BYTES), "<u4"
            )
        except OSError as error:
            raise _unusable(self._folder, "read", error, "see that it can be read") from error
        whole[whole] = words[offsets[whole] // _CHECK_BYTES] == places["check"][whole]
        return whole

    def forget(self, *slots: int) -> None:
        """Let no key lead to damaged entries any more, so that they can be appended anew; kept at the next ``flush``.

        Nothing is deleted: a record says that the other one counts no more. A shard's first loss is told in ``notes``.
        """
        self._leave_parents_work()
        shards = Counter[str]()
        for slot, key in self._catalogue.drop(slots):
            shard, place = self._catalogue.place(slot)
            shards[shard] += 1
            self._voids.append(Void(key_bytes(*key), place.check))
        for shard, count in shards.items():
            self._catalogue.note_forgotten(shard, count)

    def flush(self) -> None:
        """Store what was appended; DataError when the disk will not have it: what was stored before stays."""
        self._leave_parents_work()
        if self._refusal is not None:
            self._voids = []  # forgotten by this process alone
        if not self._pending and not self._voids:
            return
        try:
            self._writer.write(list(self._pending.items()), self._voids)
        except OSError as error:
            self._take_in_what_is_written()
            fix = (
                f"free space there or choose another cache_dir; the {len(self._catalogue)} entries that it holds "
                "are kept, the next run goes on from there"
            )
            raise _unusable(self._folder, "written", error, fix) from error
        self._take_in_what_is_written()

    def refresh(self) -> None:
        """Find what other processes have stored since; slots stay as they are."""
        self._catalogue.refresh()

    def usage(self) -> tuple[int, int]:
        """Return the number of entries that are found and the bytes that the store's files take."""
        files = (self._folder / _LAYOUT).glob("*")
        return len(self._catalogue), sum(file_size(path) for path in files)

    def close(self) -> None:
        """Store what was appended and let go of all files; a later ``read`` opens them again."""
        try:
            self.flush()
        finally:
            self._maps.clear()

    def _take_in_what_is_written(self) -> None:
        self._pending, self._pending_bytes, self._voids = {}, 0, []
        self._catalogue.look([self._writer.shard])

    def _leave_parents_work(self) -> None:
        """Begin anew in a forked process: its parent flushes what waits, and goes on with its shard."""
        if os.getpid() != self._process:
            self._begin_writing()


def _refusal(folder: Path) -> DataError | None:
    """Return why nothing can be appended in a folder, None when it can; DataError when nothing can be read either."""
    layout = folder / _LAYOUT
    try:
        layout.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=layout):
            return None
    except OSError as error:
        refusal = _unusable(folder, "written", error, "make it writable or choose another cache_dir")
        if not layout.is_dir():
            raise refusal from error
        return refusal


def _unusable(folder: Path, verb: str, error: OSError, fix: str) -> DataError:
    return DataError(f"the cache cannot be {verb}: {error.strerror or error}", where=str(folder), fix=fix)
