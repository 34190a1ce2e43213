"""Memory maps of shards, opened when they are asked for."""

from __future__ import annotations

import mmap
from pathlib import Path

_OPEN = 128  # each keeps a file descriptor, of which macOS grants 256 and Linux 1024


class ShardMaps:
    """The bytes of a folder's data files. A map is opened anew when its file has grown beyond it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, memoryview] = {}

    def view(self, name: str, start: int, stop: int) -> memoryview:
        """Return some bytes of a file, read-only; ValueError when it ends before them."""
        found = self._maps.get(name)
        if found is None or len(found) < stop:
            found = self._map(name)
        if len(found) < stop:
            raise ValueError("the file ends before it")
        return found[start:stop]

    def clear(self) -> None:
        """Let go of all files; a map that somebody still has a view of goes with the view."""
        self._maps.clear()

    def _map(self, name: str) -> memoryview:
        self._maps.pop(name, None)
        while len(self._maps) >= _OPEN:
            del self._maps[next(iter(self._maps))]  # the one that was opened first
        with (self._folder / name).open("rb") as file:
            found = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._maps[name] = found
        return found
