"""Memory maps of shards, opened when they are asked for."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from pathlib import Path
from threading import Lock

if sys.platform != "win32":
    import resource

_MOST = 1024  # each keeps a file descriptor
_TOO_MANY_OPEN = frozenset({errno.EMFILE, errno.ENFILE})


class ShardMaps:
    """The bytes of a folder's data files, for any number of threads.

    A map is opened anew when its file has grown beyond it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, memoryview] = {}
        self._most = _most_maps()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = Lock()

    def view(self, name: str, start: int, stop: int) -> memoryview:
        """Return some bytes of a file, read-only; ValueError when it ends before them."""
        found = self._maps.get(name)  # no lock: most calls find their map, and one look-up is whole
        if found is None or len(found) < stop:
            found = self._grown(name, stop)
        if len(found) < stop:
            raise ValueError("the file ends before it")
        return found[start:stop]

    def clear(self) -> None:
        """Let go of all files; a map that somebody still has a view of goes with the view."""
        self._maps = {}

    def _grown(self, name: str, stop: int) -> memoryview:
        if os.getpid() != self._process:
            self._begin()  # a thread of the parent may have held the lock when this process was forked
        with self._lock:
            found = self._maps.get(name)  # another thread may have been here first
            if found is None or len(found) < stop:
                found = self._map(name)
            return found

    def _map(self, name: str) -> memoryview:
        self._maps.pop(name, None)
        self._leave(self._most - 1)
        try:
            found = _mapped(self._folder / name)
        except OSError as error:
            if error.errno not in _TOO_MANY_OPEN or not self._maps:
                raise
            self._most = max(1, len(self._maps) // 2)  # others need files, too: pictures are read meanwhile
            self._leave(self._most - 1)
            found = _mapped(self._folder / name)
        self._maps[name] = found
        return found

    def _leave(self, count: int) -> None:
        """Let go of the maps that were opened first, until so many are left."""
        while len(self._maps) > count:
            del self._maps[next(iter(self._maps))]


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _most_maps() -> int:
    """Return how many files are mapped at once: at most half of what the system grants (macOS 256, Linux 1024)."""
    if sys.platform == "win32":
        return _MOST
    granted, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if granted == resource.RLIM_INFINITY else max(1, min(_MOST, granted // 2))
