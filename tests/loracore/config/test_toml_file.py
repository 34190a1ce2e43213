"""Every key that tomli reports has its line; places name file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from loracore.config.toml_file import read_toml
from loracore.config.toml_lines import KeyPath, key_lines
from loracore.errors import ConfigError

DATASETS = """\
# comment with = and [brackets]
name = "x" # [not.a.table]
[general]
"quoted key".inner = '''
a = 1
[fake]'''
'lit"eral' = 2
[[datasets]]
resolution = [512, # first
  768]
  [[datasets.subsets]]
  image_dir = "a]b#c"
  [[datasets.subsets]]
  image_dir = "b"
[[datasets]]
  [[datasets.subsets]]
  image_dir = { path = "c", tags = ["x", {y = 1}] }
"""

_names = st.text(min_size=1, max_size=4)
_scalars = st.one_of(st.integers(-(10**9), 10**9), st.booleans(), st.floats(allow_nan=False), st.text())
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
_tables = st.dictionaries(_names, _values, max_size=5)


def key_paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from key_paths(inner, (*path, key))


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def in_lines(text: str) -> str:
    return tomli_w.dumps({"k": text}, multiline_strings=True)[4:].strip("\n")


def inline(value: Any, separator: str) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {inline(inner, ' ')}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{separator}" + "".join(f"{inline(inner, separator)},{separator}" for inner in value) + "]"
    if isinstance(value, str):
        return quoted(value) if separator == " " else in_lines(value)
    return tomli_w.dumps({"k": value})[4:].strip()


@given(_tables)
def test_every_key_path_of_headers_and_values_has_a_line(table: dict[str, Any]) -> None:
    text = tomli_w.dumps(table, multiline_strings=True).replace("\r\n", "\n")
    assert set(key_lines(text)) == set(key_paths(tomli.loads(text)))


@given(_tables, st.sampled_from([" ", "\n", " # note ]\n  "]))
def test_every_key_path_of_inline_values_has_a_line(table: dict[str, Any], separator: str) -> None:
    lines = [f"{quoted(key)} = {inline(value, separator)}\n" for key, value in table.items()]
    text = "".join(lines).replace("\r\n", "\n")
    assert set(key_lines(text)) == set(key_paths(tomli.loads(text)))


@given(st.lists(st.lists(_names, min_size=1, max_size=3), max_size=3))
def test_every_key_path_of_dotted_keys_has_a_line(dotted: list[list[str]]) -> None:
    lines = [f"{' . '.join(map(quoted, [str(number), *keys]))} = 1\n" for number, keys in enumerate(dotted)]
    text = "[[a.b]]\n" + "".join(lines) + "[[a.b]]\n[a.b.c]\n" + "".join(lines)
    assert set(key_lines(text)) == set(key_paths(tomli.loads(text)))


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("data.toml")
    path.write_bytes(b"\xef\xbb\xbf" + DATASETS.replace("\n", "\r\n").encode())
    return path


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("name",), 2),
        (("general",), 3),
        (("general", "quoted key", "inner"), 4),
        (("general", 'lit"eral'), 7),
        (("datasets", 0, "resolution", 1), 10),
        (("datasets", 0, "subsets", 1, "image_dir"), 14),
        (("datasets", 1), 15),
        (("datasets", 1, "subsets", 0, "image_dir", "tags", 1, "y"), 17),
    ],
)
def test_a_place_is_the_file_and_the_line_of_the_key(written: Path, keys: KeyPath, line: int) -> None:
    assert read_toml(written).place(*keys) == f"data.toml:{line}"


def test_a_key_that_is_missing_is_placed_at_its_nearest_parent(written: Path) -> None:
    document = read_toml(written)
    assert document.place("datasets", 0, "subsets", 1, "missing") == "data.toml:13"
    assert document.place("missing") == "data.toml"


def test_the_suffix_may_be_left_out(written: Path) -> None:
    assert read_toml(written.with_suffix("")).path == written


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("a = 1\nb = = 2\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert caught.value.problems[0].where == f"{path}:2"


def test_text_in_another_encoding_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"a = 1\nb = '\xe9'\n")
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        read_toml(path)
    assert caught.value.problems[0].where == f"{path}:2"


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_path_that_is_no_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"no such file|a folder"):
        read_toml(tmp_path / name)


@pytest.mark.parametrize("text", [r'a = "C:\Users\me"', r'a = "C:\pictures"', r'a = ["x", "D:\sets"]'])
def test_a_path_of_windows_in_double_quotes_is_mended(tmp_path: Path, text: str) -> None:
    path = tmp_path / "windows.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"in double quotes \\ begins an escape: write a path in single quotes"):
        read_toml(path)


def test_another_syntax_error_says_nothing_of_quotes(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("a = 'C:\\x' 'y'", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert caught.value.problems[0].fix == ""
