"""Opens everything that a run has given its final name, all the time, as others would."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open

from loracore.training.state.folder import read_state


class Watcher:
    """Reads every file and every state of a folder until it is left; what cannot be read is noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: list[str] = []
        self.read = 0
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch as long as this lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._left.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._left.wait(0.005):
            for path in list(self.folder.glob("[!.]*")) if self.folder.exists() else ():
                self._look(path)

    def _look(self, path: Path) -> None:
        try:
            if path.suffix == ".safetensors":
                _read_file(path)
            elif path.name.endswith("-state"):
                read_state(path)
            else:
                return
        except Exception as error:  # noqa: BLE001  # whatever a reader may meet
            if path.exists():  # else it was superseded between two looks
                self.unreadable.append(f"{path.name}: {type(error).__name__}: {error}")
        else:
            self.read += 1


def _read_file(path: Path) -> None:
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118  # safe_open is no mapping
            file.get_tensor(name)
