"""Where the keys of a TOML text stand: a scanner for texts that tomli has accepted already."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import tomli

#: Table names and array indices from the top of the file down to one value.
KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[^\s"'=.\[\]{},#]+|"(?:\\.|[^"\\])*"|'[^']*'""")
# A closing triple quote may be preceded by one or two quotes that belong to the string.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Return the position in ``text`` (its line ends single newlines) at which every key path first stands.

    The text must be valid TOML; tables that only a longer header implies stand where that header does.
    """
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.positions


class _Scanner:
    """Walks once through a valid TOML text and notes where each key path begins."""

    def __init__(self, text: str) -> None:
        self.positions: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._array_lengths: Counter[KeyPath] = Counter()  # of arrays of tables

    def scan(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        names = self._dotted_key()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for name in names[:-1]:
            path = self._newest((*path, name))
            self._note(path, start)
        path = (*path, names[-1])
        self._note(path, start)
        if is_array:
            self._array_lengths[path] += 1
        path = self._newest(path)
        self._note(path, start)
        return path

    def _newest(self, path: KeyPath) -> KeyPath:
        """Step into the last table of an array of tables; any other path stays as it is."""
        if path not in self._array_lengths:
            return path
        self._note(path, self._at)
        return (*path, self._array_lengths[path] - 1)

    def _assignment(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for name in self._dotted_key():
            path = (*path, name)
            self._note(path, start)
        self._at += 1  # "="
        self._skip(_SPACE)
        self._value(path)

    def _dotted_key(self) -> list[str]:
        names = []
        while True:
            self._skip(_SPACE)
            names.append(_plain(self._take(_KEY)))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return names
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._skip(_STRING if opening in "\"'" else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        index = 0
        while self._enters_item("]"):
            self._note((*path, index), self._at)
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        while self._enters_item("}"):
            self._assignment(path)

    def _enters_item(self, closing: str) -> bool:
        """Step over the opening bracket or comma to the next item; at the closing bracket, step out."""
        self._skip(_BLANK)
        if self._text[self._at] != closing:
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != closing:
            return True
        self._at += 1
        return False

    def _note(self, path: KeyPath, position: int) -> None:
        self.positions.setdefault(path, position)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            message = f"the scanner lost its way at letter {self._at} of a valid TOML text"
            raise AssertionError(message)
        self._at = found.end()
        return found.group()


def _plain(key: str) -> str:
    """Return a key without its quotes; tomli knows the escapes."""
    if key[0] not in "\"'":
        return key
    value: str = tomli.loads(f"key = {key}")["key"]
    return value
