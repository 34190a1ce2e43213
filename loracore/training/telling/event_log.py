"""The run's events as a file: one JSON object a line, each handed to the system before the next step."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from io import RawIOBase
from pathlib import Path
from typing import Any, cast

from loracore.config.secret_values import without_secrets
from loracore.training.results.outputs import ResultFiles
from loracore.training.telling.json_numbers import json_number
from loracore.types import Event

EVENTS_NAME = "events.jsonl"


def log_folder(files: ResultFiles) -> Path:
    """Return the folder of a run's log and report, beside its results."""
    return files.folder / f"{files.name or 'last'}-log"


class EventLog:
    """Appends events to ``events.jsonl`` in a folder that appears with the first of them.

    Lines go to the system unbuffered: a killed process loses none but the one it is writing. A resumed run writes
    behind what is there; its "started" tells readers from which step on earlier lines no longer count.
    """

    def __init__(self, folder: Path, secrets: Sequence[str] = ()) -> None:
        self.folder = folder
        self._secrets = tuple(secrets)
        self._file: RawIOBase | None = None
        self._torn = False  # the last line has no end
        self._failed = False

    @property
    def path(self) -> Path:
        return self.folder / EVENTS_NAME

    def write(self, event: Event) -> None:
        """Append one line; raises OSError when it cannot be written, and may be called again all the same."""
        line = self._line(event)
        file = self._opened()
        data = (("\n" if self._torn else "") + line + "\n").encode("utf-8")
        self._torn = True
        written = file.write(data) or 0
        while written < len(data):  # a nearly full disk takes a part, then raises
            written += file.write(data[written:]) or 0
        self._torn = False

    def close(self) -> None:
        """Let go of the file; the next event opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def first_failure(self) -> bool:
        """Tell whether nobody has asked this before: what fails with every line is said once."""
        first, self._failed = not self._failed, True
        return first

    def _opened(self) -> RawIOBase:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._torn = _ends_torn(self.path)
            self._file = cast("RawIOBase", self.path.open("ab", buffering=0))
        return self._file

    def _line(self, event: Event) -> str:
        values = {"time": round(time.time(), 3), "kind": event.kind, "step": event.step, **event.values}
        return json.dumps(self._plain(values), ensure_ascii=False, allow_nan=False)

    def _plain(self, value: Any) -> Any:
        """Return what JSON can hold: numbers that are not finite become null, paths and the like their text."""
        if isinstance(value, float):
            return json_number(value)
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, Mapping):
            return {str(key): self._plain(one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(one) for one in value]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        text = without_secrets(text, self._secrets)  # nothing should hold one; somebody's error might
        # Names of files may hold halves of surrogate pairs, and UTF-8 may not.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _ends_torn(path: Path) -> bool:
    """Tell whether a file ends in the middle of a line, as a killed machine leaves it."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
