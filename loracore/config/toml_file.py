"""A TOML file with the line of every key, so that messages can name ``file:line``."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from loracore.config.file_values import check_values, parsed
from loracore.config.toml_lines import KeyPath, key_lines
from loracore.config.utf8_file import utf8_text
from loracore.errors import ConfigError

_BACKSLASH = re.compile(r'"[^"]*\\')  # a path of Windows in double quotes, most likely
_QUOTES = r"in double quotes \ begins an escape: write a path in single quotes, 'C:\pictures', or with / instead"


@dataclass(frozen=True, eq=False, slots=True)
class TomlFile:
    """The values of a TOML file, and the line (1-based) on which each key path stands.

    A key path goes through tables by name and through arrays by index: ``("datasets", 0, "subsets", 1, "image_dir")``.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def place(self, *keys: str | int) -> str:
        """Return ``file:line`` of a key path, of its nearest parent that stands in the file, or the file alone."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                return f"{self.path}:{self.lines[keys[:length]]}"
        return str(self.path)


def read_toml(path: Path) -> TomlFile:
    """Return the values and lines of a UTF-8 TOML file; where ``path`` is no file, ``.toml`` is appended.

    Raises ConfigError for a missing or unreadable file, for a syntax error with its line and column, and for values
    that are too large or nested too deep.
    """
    found = _existing(path)
    text = utf8_text(found).replace("\r\n", "\n")
    try:
        document = TomlFile(found, parsed(tomli.loads, text, found), parsed(_lines, text, found))
    except tomli.TOMLDecodeError as error:
        message = f"TOML syntax error in column {error.colno}: {error.msg}"
        fix = _QUOTES if _BACKSLASH.search(text.split("\n")[error.lineno - 1]) else ""
        raise ConfigError(message, where=f"{found}:{error.lineno}", fix=fix) from error
    check_values(document.values, document.place)
    return document


def _lines(text: str) -> Mapping[KeyPath, int]:
    breaks = [position for position, letter in enumerate(text) if letter == "\n"]
    return {keys: bisect_left(breaks, position) + 1 for keys, position in key_lines(text).items()}


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    suffixed = path.with_name(f"{path.name}.toml")
    if path.suffix != ".toml" and path.name and suffixed.is_file():
        return suffixed
    if path.is_dir():
        raise ConfigError("this is a folder, not a TOML file", where=str(path))
    raise ConfigError("no such file", where=str(path), fix="check the path; it is relative to the working directory")
