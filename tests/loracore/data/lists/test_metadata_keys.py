from __future__ import annotations

import ntpath
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.data.lists.metadata_keys import find_pictures, is_relative
from loracore.errors import Problem

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Paint

SUFFIXES = frozenset({".png", ".jpg"})


def find(key: str, image_dir: Path | None) -> str:
    (found,) = find_pictures([key], image_dir, SUFFIXES)
    return str(found)


@pytest.mark.parametrize("key", ["sub/a.PNG", "./sub/a.PNG", "sub//other/../a.PNG", "sub/./a.PNG"])
def test_spellings_of_a_key_are_one_path(key: str) -> None:
    assert find(key, Path("pictures")) == str(Path("pictures/sub/a.PNG"))


def test_the_working_directory_is_not_spelled_out() -> None:
    assert find("a.png", Path()) == "a.png"


def test_an_absolute_key_in_the_folder_begins_as_the_folder_is_written() -> None:
    assert find(str(Path("pictures/a.png").absolute()), Path("pictures")) == str(Path("pictures/a.png"))


@pytest.mark.parametrize("image_dir", [None, Path("pictures")])
def test_an_absolute_key_elsewhere_stays(tmp_path: Path, image_dir: Path | None) -> None:
    assert find(f"{tmp_path}/sub/../a.png", image_dir) == str(tmp_path / "a.png")


@pytest.mark.parametrize("key", ["../a.png", "sub/../../a.png", "..", "../pictures-other/a.png"])
def test_a_relative_key_stays_in_its_folder(key: str) -> None:
    assert "leaves image_dir" in find(key, Path("pictures"))


@given(st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1).map("/".join))
def test_no_relative_key_leads_out_of_its_folder(key: str) -> None:
    (found,) = find_pictures([f"./{key}/c.png"], Path("pictures"), SUFFIXES)
    inside = os.path.normpath(str(found)).startswith(f"pictures{os.sep}")
    assert inside is not isinstance(found, Problem)


@pytest.mark.parametrize("key", ["C:a.png", "..\\a.png", "sub\\..\\..\\a.png"])
def test_keys_that_leave_the_folder_on_windows_are_seen(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    windows = SimpleNamespace(path=ntpath, sep="\\", pardir="..", curdir=".", fsencode=os.fsencode)
    monkeypatch.setattr("loracore.data.lists.metadata_keys.os", windows)
    assert "leaves image_dir" in find(key, Path("pictures"))


@pytest.mark.parametrize("key", ["", "a\0.png", "\ud800.png"])
def test_a_key_that_is_no_path_is_told(key: str) -> None:
    assert "cannot be the path of a file" in find(key, Path("pictures"))


@pytest.mark.parametrize("key", ["sub/a", "./sub/a"])
def test_a_key_without_extension_finds_its_picture(paint: Paint, tmp_path: Path, key: str) -> None:
    painted = paint("sub/a.JPG")
    (tmp_path / "sub" / "a.txt").touch()
    assert find(key, tmp_path) == str(painted)


def test_a_dot_in_a_name_is_no_extension(paint: Paint, tmp_path: Path) -> None:
    painted = paint("a.v2.png")
    assert find("a.v2", tmp_path) == str(painted)


def test_an_absolute_key_without_extension_finds_its_picture(paint: Paint, tmp_path: Path) -> None:
    painted = paint("a.png")
    assert find(str(tmp_path / "a"), None) == str(painted)


def test_a_key_without_extension_must_name_one_picture(paint: Paint, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        paint(name)
    ambiguous, missing = find_pictures(["a", "b.gif"], tmp_path, SUFFIXES)
    assert str(ambiguous) == f"'a' could be any of a.jpg, a.png in '{tmp_path}' (write the extension in the list)"
    assert str(missing).startswith(f"there is no picture named 'b.gif' in '{tmp_path}'")


def test_a_folder_that_cannot_be_listed_is_told_of_its_keys_alone(tmp_path: Path) -> None:
    missing, found = find_pictures(["sub/a", "b.png"], tmp_path, {".png"})
    assert isinstance(missing, FileNotFoundError)
    assert found == str(tmp_path / "b.png")


def test_only_absolute_keys_need_no_folder(tmp_path: Path) -> None:
    assert is_relative("a.png")
    assert not is_relative(str(tmp_path / "a.png"))
