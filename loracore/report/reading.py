"""The events of a run, read back from ``events.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loracore.errors import DataError

EVENTS_NAME = "events.jsonl"


def events_file(place: Path) -> Path:
    """Return the file of events that a path means: itself, in that folder, or in its only folder ``*-log``.

    Raises DataError when there is none, or several.
    """
    if place.is_file():
        return place
    found = [place / EVENTS_NAME] if (place / EVENTS_NAME).is_file() else sorted(place.glob(f"*-log/{EVENTS_NAME}"))
    if len(found) == 1:
        return found[0]
    if found:
        fix = "give one of " + ", ".join(str(path) for path in found)
        raise DataError("there are events of several runs", where=str(place), fix=fix)
    fix = "a run writes them to OUTPUT_DIR/NAME-log/events.jsonl"
    raise DataError("there are no events of a run", where=str(place), fix=fix)


def read_events(path: Path) -> Iterator[Mapping[str, Any]]:
    """Give the lines of a file of events, in their order; a line that a killed machine left unfinished is left out.

    Raises DataError for a file that cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            events = (_event(line) for line in file)
            yield from (event for event in events if event is not None)
    except OSError as error:
        raise DataError(f"the events cannot be read: {error.strerror or error}", where=str(path)) from error


def _event(line: str) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    known = isinstance(event, dict) and isinstance(event.get("kind"), str) and isinstance(event.get("step"), int)
    return event if known else None
