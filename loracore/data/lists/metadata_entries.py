"""What the text of a list of pictures says, one picture at a time: ``.json`` by key, ``.jsonl`` by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from pathlib import Path

#: How messages call a value. JSON objects are read as tuples of pairs, so that a key that stands twice is seen.
_KINDS = MappingProxyType(
    {type(None): "null", bool: "true or false", float: "a number", str: "text", list: "a list", tuple: "an object"}
)


#: Stands for a caption in which something is wrong: the picture is looked at even so, and is not said to have none.
_WRONG = " "


class Entry(NamedTuple):
    """One picture as the list names it."""

    key: str
    caption: str  # "": none; lines are parted by newlines
    tags: str  # "": none
    line: int = 0  # of a .jsonl file, from 1; 0: unknown


def read_object(path: Path) -> Iterator[Entry | Problem]:
    """Yield the entries of one JSON object, ``{key: {caption, tags}}``, and what is wrong with it. Raises OSError."""
    try:
        found = _parse(path.read_bytes(), path, 1)
    except DataError as error:
        yield from error.problems
        return
    if not isinstance(found, tuple):
        yield Problem(f"the list is {_kind(found)}, not an object of pictures", str(path))
        return
    for key, said in found:
        if isinstance(said, tuple):
            yield from _entry(key, said, str(path), 0)
        else:
            yield Entry(key, _WRONG, "")
            yield Problem(f"{key!r} is {_kind(said)}, not an object with caption or tags", str(path))


def read_lines(path: Path) -> Iterator[Entry | Problem]:
    """Yield the entries of a file with an object ``{image_path, caption, tags}`` on each line; else as read_object."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield from _line_entry(line.rstrip(), path, number)


def _line_entry(line: bytes, path: Path, number: int) -> Iterator[Entry | Problem]:
    where = f"{path}:{number}"
    try:
        found = _parse(line, path, number)
    except DataError as error:
        yield from error.problems
        return
    key = dict(found).get("image_path") if isinstance(found, tuple) else None
    if isinstance(key, str):
        yield from _entry(key, found, where, number)
    elif isinstance(found, tuple):
        yield Problem("image_path is missing" if key is None else f"image_path is {_kind(key)}, not text", where)
    else:
        yield Problem(f"the line is {_kind(found)}, not an object with image_path", where)


def _parse(data: bytes, path: Path, line: int) -> Any:
    """Return the value of a JSON text that begins at ``line``. Raises DataError."""
    try:
        # Numbers are of no use here; read as floats, they may have any number of digits.
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=tuple, parse_int=float)
    except UnicodeDecodeError as error:
        bad_line = line + data.count(b"\n", 0, error.start)
        raise DataError(
            "the list is not UTF-8 text", where=f"{path}:{bad_line}", fix="save the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        where = f"{path}:{line + error.lineno - 1}"
        raise DataError(f"the list is not JSON: {error.msg} (column {error.colno})", where=where) from error
    except RecursionError as error:
        raise DataError("the list is nested too deeply", where=f"{path}:{line}") from error


def _entry(key: str, pairs: tuple[tuple[str, Any], ...], where: str, line: int) -> Iterator[Entry | Problem]:
    """Yield a picture's entry and everything that is wrong with it; names that are not ours are passed over."""
    values = dict(pairs)
    names = [name for name, _ in pairs] if len(values) < len(pairs) else []
    twice = [name for name in ("image_path", "caption", "tags") if names.count(name) > 1]
    wrong = [name for name in ("caption", "tags") if not _is_text(values.get(name))]
    caption, tags = (_WRONG if name in wrong else _plain(values.get(name)) for name in ("caption", "tags"))
    yield Entry(key, caption, tags, line)
    for name in twice:
        yield Problem(f"{name} of {key!r} stands twice", where)
    for name in wrong:
        halved = isinstance(values[name], str)
        kind = "text with half a surrogate pair" if halved else f"{_kind(values[name])}, not text"
        yield Problem(f"{name} of {key!r} is {kind}", where)


def _is_text(value: Any) -> bool:
    """Tell whether a value is missing, or text that can be encoded: JSON can spell halves of surrogate pairs."""
    if not isinstance(value, str):
        return value is None
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(text: str | None) -> str:
    """Return a text with the line ends that caption files have once they are read."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n")


def _kind(value: Any) -> str:
    return _KINDS[type(value)]
