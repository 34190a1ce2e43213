"""What a TOML or JSON file may hold at all: numbers of 64 bits, and lists and tables that are not nested too deep."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from loracore.errors import ConfigError, Problem

Parsed = TypeVar("Parsed")
#: A key path in a file, and its place for messages.
Place = Callable[..., str]

_DEEPEST = 32
_DEEP = re.compile(rf"(?:[\[{{][^\[\]{{}}]*){{{_DEEPEST}}}[\[{{]")
_LONG = re.compile(r"[0-9_]{641,}")  # Python never refuses a number of 640 digits
_TOO_DEEP = f"lists and tables stand more than {_DEEPEST} deep inside each other"
_TOO_LONG = "this number has more than 64 bits"
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1  # what TOML demands of whole numbers


def parsed(parse: Callable[[str], Parsed], text: str, path: Path) -> Parsed:
    """Return what a parser makes of a text; raises ConfigError where Python's own limits stop it.

    Syntax errors are the parser's, and pass.
    """
    try:
        return parse(text)
    except RecursionError as error:
        raise ConfigError(_TOO_DEEP, where=_first(_DEEP, text, path)) from error
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise ConfigError(_TOO_LONG, where=_first(_LONG, text, path)) from error


def check_values(values: Mapping[str, Any], place: Place) -> None:
    """Raise ConfigError for every number beyond 64 bits, and for every value that is nested too deep."""
    problems = list(_problems(values, place))
    if problems:
        raise ConfigError.of(problems)


def _problems(values: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), values)]
    while waiting:
        keys, value = waiting.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        if len(keys) > _DEEPEST:
            yield Problem(f"{keys[0]}: {_TOO_DEEP}", place(*keys))
        else:
            waiting += reversed([((*keys, key), held) for key, held in inner])
        if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
            yield Problem(f"{keys[-1]}: {_TOO_LONG}", place(*keys))


def _first(pattern: re.Pattern[str], text: str, path: Path) -> str:
    """Return ``file:line`` of the end of the first match, or the file alone."""
    found = pattern.search(text)
    return str(path) if found is None else f"{path}:{text.count(chr(10), 0, found.end()) + 1}"
