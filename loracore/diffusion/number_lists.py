"""Lists of whole numbers as the field writes them into one option: "[2,3,4]", "0,1,4-5"; no torch here."""

from __future__ import annotations

import re
from typing import Any

_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")
#: Ranges beyond it are typing errors; no model has as many blocks.
_MOST = 10_000


def as_text(value: Any) -> Any:  # whatever stands in a configuration file
    """Return a TOML list of numbers as the text that the command line would have; anything else as it is."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def numbers(text: str, count: int) -> tuple[int, ...]:
    """Return the numbers of a comma-separated list, with or without brackets.

    Raises ValueError, with what a person should read, unless they are ``count`` whole numbers, 0 or more.
    """
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    items = [item.strip() for item in inner.split(",")]
    if len(items) != count or not all(item.isascii() and item.isdigit() for item in items):
        message = f"'{text}' is no list of {count} whole numbers, 0 or more"
        raise ValueError(message)
    return tuple(int(item) for item in items)


def indices(text: str) -> frozenset[int]:
    """Return the numbers named by numbers and ranges ("0,1,4-5"), both ends included; raises ValueError."""
    found: set[int] = set()
    for item in text.split(","):
        match = _RANGE.fullmatch(item)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < _MOST:
            message = f"'{item.strip()}' is neither a number nor a range of numbers"
            raise ValueError(message)
        found.update(range(first, last + 1))
    return frozenset(found)
