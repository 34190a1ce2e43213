"""Appends entries to shards of this process's own, so that no lock is needed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loracore.data.store.catalogue import DATA_SUFFIX, INDEX_SUFFIX, file_size
from loracore.data.store.entries import Encoded, aligned
from loracore.data.store.records import RECORD, checks, header, index_bytes


class Void(NamedTuple):
    """A record that counts no more, because its entry cannot be read."""

    key: bytes
    check: int


class ShardWriter:
    """Writes batches of entries, each on the disk before the records that point at it.

    Files are opened for one batch only: nothing is left open for a forked process to share, or for Windows to guard.
    """

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._begin()

    @property
    def shard(self) -> str:
        """Give the name of the shard that was written last."""
        return self._shard

    def write(self, entries: Sequence[tuple[bytes, Encoded]], voids: Sequence[Void]) -> None:
        """Append entries and voids.

        OSError when that fails: then the shard holds as many whole entries as found room, and nothing else.
        """
        if not self._goes_on():
            self._begin()
        records, data = self._laid_out(entries, voids)
        try:
            _append(self._data, data)
        except OSError:
            _cut(self._data, self._data_bytes)
            raise
        try:
            _append(self._index, records.tobytes() if self._count else header(self._seed) + records.tobytes())
        except OSError:
            self._keep_whole(records)
            raise
        self._data_bytes += len(data)
        self._count += len(records)

    def _begin(self) -> None:
        self._shard = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._data = self._folder / (self._shard + DATA_SUFFIX)
        self._index = self._folder / (self._shard + INDEX_SUFFIX)
        self._seed = secrets.randbits(64) | 1  # never 0: zeros must not pass for a record
        self._data_bytes = 0
        self._count = 0

    def _goes_on(self) -> bool:
        """Tell whether the shard has room and ends where the last batch ended; damaged ones are never appended to."""
        index = index_bytes(self._count) if self._count else 0
        as_left = file_size(self._data) == self._data_bytes and file_size(self._index) == index
        return as_left and self._data_bytes < self._shard_bytes

    def _laid_out(
        self, entries: Sequence[tuple[bytes, Encoded]], voids: Sequence[Void]
    ) -> tuple[NDArray[np.void], bytes]:
        """Return the records of a batch and the bytes that they point at."""
        records = np.zeros(len(entries) + len(voids), RECORD)
        keys = b"".join([key for key, _ in entries] + [void.key for void in voids])
        records["key"] = np.frombuffer(keys, "<u8").reshape(-1, 2)
        room = np.array([0] + [aligned(encoded.length) for _, encoded in entries], dtype=np.uint64)
        records["offset"][: len(entries)] = self._data_bytes + room.cumsum()[:-1]
        records["length"][: len(entries)] = [encoded.length for _, encoded in entries]
        records["offset"][len(entries) :] = [void.check for void in voids]
        records["check"] = checks(records, self._seed)
        chunks: list[bytes] = []
        for (_, encoded), check in zip(entries, records["check"].tolist(), strict=False):  # voids have no bytes
            chunks += [*encoded.chunks(check), bytes(aligned(encoded.length) - encoded.length)]
        return records, b"".join(chunks)

    def _keep_whole(self, records: NDArray[np.void]) -> None:
        """Cut the shard behind the last record that was written whole.

        Its bytes stay: another process may have read the record, and must not find its memory map cut.
        """
        written = max(0, (file_size(self._index) - index_bytes(0)) // RECORD.itemsize)
        kept = records[: max(0, written - self._count)]
        _cut(self._index, index_bytes(written) if written else 0)
        ends = kept["offset"] + kept["length"]
        _cut(self._data, max([self._data_bytes, *ends[kept["length"] > 0].tolist()]))


def _append(path: Path, data: bytes) -> None:
    """Append bytes to a file and wait until they are on the disk."""
    if not data:
        return
    with path.open("ab", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _cut(path: Path, size: int) -> None:
    """Shorten a file to what is whole, or remove it where nothing is.

    Where the system refuses (Windows does while another process maps the file), bytes that no record names stay behind.
    """
    with suppress(OSError):
        if size:
            os.truncate(path, size)
        else:
            path.unlink(missing_ok=True)
