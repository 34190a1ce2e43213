from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loracore.data.folders import list_folder, look_at
from loracore.data.images import readable_suffixes

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Golden, Paint, Subset

#: Where we mean to differ from what is recorded.
BETTER: dict[str, Any] = {
    "byte-order mark is kept": {"caption": "x"},
    "zero-byte file": {"caption": ""},
    "mixed-case extension is not found": {"caption": "x", "image_found": True},
}


def test_golden_caption_files(golden: Golden, paint: Paint, subset: Subset, tmp_path: Path) -> None:
    for number, case in enumerate(golden["caption_files"]["cases"]):
        expected = {**case, **BETTER.get(case["how"], {})}
        if (
            "enable_wildcard" in case["settings"]
            or expected.get("image_found") is False
            or "\\xe9" in str(case["files"])
        ):
            continue
        folder = tmp_path / str(number)
        paint(f"{number}/{case['image']}")
        for name, text in case["files"].items():
            (folder / name).write_bytes(text.encode("utf-8"))
        sight = look_at(case["image"], frozenset(case["files"]), subset(folder))
        assert (sight.caption or case["settings"].get("class_tokens") or "") == expected["caption"], case


@pytest.mark.parametrize("name", ["a.PNG", "a.Png", "b.jpeg", "c.WebP", "a.b.bmp"])
def test_extensions_have_no_case(paint: Paint, tmp_path: Path, name: str) -> None:
    paint(name)
    assert list_folder(tmp_path, readable_suffixes()).pictures == (name,)


def test_pictures_are_sorted_and_sub_folders_left_alone(paint: Paint, tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "sub.png/c.png", ".hidden.png"):
        paint(name)
    assert list_folder(tmp_path, {".png"}).pictures == ("a.png", "b.png")


def test_other_formats_are_counted(paint: Paint, tmp_path: Path) -> None:
    for name in ("a.gif", "b.tiff", "c.TIFF"):
        paint(name)
    assert list_folder(tmp_path, {".png"}).unread == {".gif": 1, ".tiff": 2}


def test_a_caption_in_another_encoding_is_named(paint: Paint, subset: Subset, tmp_path: Path) -> None:
    paint("a.png")
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    sight = look_at("a.png", {"a.txt"}, subset())
    assert [str(problem) for problem in sight.problems] == [
        f"{tmp_path / 'a.txt'}: the caption is not UTF-8 text (byte 4) (save the file as UTF-8)"
    ]
