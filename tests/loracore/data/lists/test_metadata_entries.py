from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loracore.data.lists.metadata_entries import Entry, read_lines, read_object
from loracore.errors import Problem

Write = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "m.json") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        return path

    return write


def problem_of(found: list[Entry | Problem], path: Path) -> str:
    (problem,) = (one for one in found if isinstance(one, Problem))
    return str(problem).replace(str(path), "m")


def test_an_object_has_an_entry_for_each_key(written: Write) -> None:
    text = json.dumps({"a.png": {"caption": "c", "tags": "t, u", "train_resolution": [64, 32]}, "b": {"tags": None}})
    assert list(read_object(written(text))) == [Entry("a.png", "c", "t, u"), Entry("b", "", "")]


def test_lines_are_numbered_and_blank_ones_passed_over(written: Write) -> None:
    text = '{"image_path": "a.png", "caption": "c"}\r\n\n{"image_path": "b.png", "image_size": [1, 2]}'
    assert list(read_lines(written(text))) == [Entry("a.png", "c", "", 1), Entry("b.png", "", "", 3)]


@pytest.mark.parametrize("read", [read_object, read_lines])
def test_a_byte_order_mark_is_no_text(written: Write, read: Callable[[Path], Any]) -> None:
    empty = b"\xef\xbb\xbf{}" if read is read_object else b'\xef\xbb\xbf{"image_path": "a"}'
    assert [found for found in read(written(empty)) if isinstance(found, Problem)] == []


def test_line_ends_are_those_of_captions(written: Write) -> None:
    (entry,) = read_object(written(r'{"a": {"caption": "c\r\nd\re"}}'))
    assert isinstance(entry, Entry)
    assert entry.caption == "c\nd\ne"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{\n "a": {},\n "b" {}}', "m:3: the list is not JSON: Expecting ':' delimiter (column 6)"),
        (b"", "m:1: the list is not JSON: Expecting value (column 1)"),
        (b'{\n"a": {"tags": "\xe9"}}', "m:2: the list is not UTF-8 text (save the file as UTF-8)"),
        (b"[" * 200_000, "m:1: the list is nested too deeply"),
        (b"[]", "m: the list is a list, not an object of pictures"),
        (b'{"a": "c"}', "m: 'a' is text, not an object with caption or tags"),
        (b'{"a": null}', "m: 'a' is null, not an object with caption or tags"),
        (b'{"a": {"caption": 1}}', "m: caption of 'a' is a number, not text"),
        (b'{"a": {"tags": ["t", "u"]}}', "m: tags of 'a' is a list, not text"),
        (b'{"a": {"tags": {}}}', "m: tags of 'a' is an object, not text"),
        (b'{"a": {"tags": false}}', "m: tags of 'a' is true or false, not text"),
        (b'{"a": {"tags": "t", "tags": "u"}}', "m: tags of 'a' stands twice"),
        (b'{"a": {"caption": "\\ud800"}}', "m: caption of 'a' is text with half a surrogate pair"),
    ],
)
def test_what_is_wrong_with_an_object_is_told(written: Write, text: bytes, said: str) -> None:
    path = written(text)
    assert problem_of(list(read_object(path)), path) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"image_path": "a"', "m:2: the list is not JSON: Expecting ',' delimiter (column 19)"),
        (b'{"image_path": "\xff"}', "m:2: the list is not UTF-8 text (save the file as UTF-8)"),
        (b"{}", "m:2: image_path is missing"),
        (b'{"image_path": 1}', "m:2: image_path is a number, not text"),
        (b'{"image_path": "a", "image_path": "b"}', "m:2: image_path of 'b' stands twice"),
        (b'{"image_path": "a", "tags": 5}', "m:2: tags of 'a' is a number, not text"),
        (b'["a"]', "m:2: the line is a list, not an object with image_path"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(written: Write, line: bytes, said: str) -> None:
    path = written(b"\n" + line + b"\n")
    assert problem_of(list(read_lines(path)), path) == said


def test_everything_wrong_is_told(written: Write) -> None:
    path = written('{"a": {"caption": 1, "tags": 2}, "b": 3, "c": {"caption": "c"}}')
    found = list(read_object(path))
    assert len([one for one in found if isinstance(one, Problem)]) == 3


def test_a_picture_of_which_something_wrong_is_said_is_an_entry_even_so(written: Write) -> None:
    found = list(read_object(written('{"a": {"caption": 1, "tags": "t"}, "b": 3}')))
    assert [one for one in found if isinstance(one, Entry)] == [Entry("a", " ", "t"), Entry("b", " ", "")]


def test_a_number_of_any_length_is_passed_over(written: Write) -> None:
    assert list(read_object(written('{"a": {"other": ' + "1" * 9000 + ', "other": 2}}'))) == [Entry("a", "", "")]
