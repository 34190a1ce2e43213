from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loracore.data.tables.folder_table import scan_folder, scan_list
from loracore.data.tables.picture_table import CaptionState, PictureTable

SUFFIXES = frozenset({".jpg", ".png"})
LONG_AGO = 1_000_000_000  # s since 1970

Scan = Callable[..., PictureTable]
Put = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "pics"
    found.mkdir()
    return found


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def scan(folder: Path, keep: Path) -> Scan:
    def again(caption_extension: str = ".txt", keep: Path | None = keep) -> PictureTable:
        return scan_folder(folder, caption_extension, SUFFIXES, keep)

    return again


@pytest.fixture
def put(folder: Path) -> Put:
    """Write a picture or a text that was last written long ago."""

    def write(name: str, content: Any = (64, 32), written: float = LONG_AGO) -> Path:
        path = folder / name
        if isinstance(content, tuple):
            Image.new("RGB", content).save(path, "PNG")
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (written, written))
        return path

    return write


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of files that are opened by the scan, beside kept tables."""
    names: list[str] = []
    real = os.open

    def spy(path: Any, *rest: Any, **options: Any) -> int:
        names.append(Path(path).name)
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", spy)
    return names


def captions(table: PictureTable) -> dict[str, str]:
    return dict(zip(table.names, table.captions, strict=True))


def sizes(table: PictureTable) -> dict[str, list[int]]:
    return dict(zip(table.names, table.sizes.tolist(), strict=True))


def contents(table: PictureTable) -> dict[str, Any]:
    arrays = (
        "caption_states caption_stems sizes modified lengths caption_modified caption_lengths animated two_captions"
    )
    plain = {name: getattr(table, name).tolist() for name in f"{arrays} decoded has_digest digests".split()}
    texts = {"names": list(table.names), "captions": list(table.captions)}
    return {**plain, **texts, "unread": dict(table.unread), "text_files": table.text_files}


def test_pictures_come_sorted_with_size_and_caption(put: Put, scan: Scan) -> None:
    put("b.png", (10, 20))
    put("a.JPG", (30, 40))
    put("b.txt", "  two \n lines\n")
    table = scan()
    assert list(table.names) == ["a.JPG", "b.png"]
    assert table.sizes.tolist() == [[30, 40], [10, 20]]
    assert list(table.captions) == ["", "  two \n lines\n"]
    assert table.caption_states.tolist() == [CaptionState.NONE, CaptionState.READ]
    assert table.modified.tolist() == [LONG_AGO * 10**9] * 2
    assert table.lengths.tolist() == [table.path(row).stat().st_size for row in range(2)]


def test_hidden_files_folders_and_other_files_are_no_pictures(put: Put, scan: Scan, folder: Path) -> None:
    put(".hidden.png")
    put("notes.md", "x")
    put("nodot", "x")
    (folder / "folder.png").mkdir()
    (folder / "sub").mkdir()
    assert len(scan()) == 0


def test_pictures_of_formats_that_are_not_read_are_counted(put: Put, scan: Scan) -> None:
    for name in ("a.HEIC", "b.heic", "c.jxl", "d.npz"):
        put(name, "x")
    assert scan().unread == {".heic": 2, ".jxl": 1}
    assert scan().unread == {".heic": 2, ".jxl": 1}


def test_a_missing_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_folder(tmp_path / "none", ".txt", SUFFIXES, None)


def test_links_to_pictures_are_pictures_and_broken_ones_have_no_size(put: Put, scan: Scan, folder: Path) -> None:
    picture = put("a.png")
    (folder / "b.png").symlink_to(picture)
    (folder / "c.png").symlink_to(folder / "nowhere")
    assert sizes(scan()) == {"a.png": [64, 32], "b.png": [64, 32], "c.png": [0, 0]}


def test_a_name_with_the_place_of_a_face_shares_a_caption(put: Put, scan: Scan) -> None:
    put("h_1_2_3_4.png")
    put("h.txt", "face")
    table = scan()
    assert captions(table) == {"h_1_2_3_4.png": "face"}
    assert table.caption_path(0).name == "h.txt"
    put("h_1_2_3_4.txt", "full")
    assert captions(scan()) == {"h_1_2_3_4.png": "full"}
    assert scan().caption_path(0).name == "h_1_2_3_4.txt"


def test_the_byte_order_mark_is_dropped(put: Put, scan: Scan) -> None:
    put("a.png")
    put("a.txt", "\ufeffein Käse")
    assert captions(scan()) == {"a.png": "ein Käse"}


def test_captions_that_are_no_text_are_told(put: Put, scan: Scan) -> None:
    put("a.png")
    put("a.txt", b"caf\xe9")
    for table in (scan(), scan()):
        assert table.caption_states.tolist() == [CaptionState.NOT_TEXT]
        assert captions(table) == {"a.png": ""}


def test_captions_longer_than_expected_are_read_whole(put: Put, scan: Scan) -> None:
    put("a.png")
    put("a.txt", "word " * 100_000)
    assert len(scan().captions[0]) == 500_000


def test_extensions_with_two_dots_are_found(put: Put, scan: Scan) -> None:
    put("a.png")
    put("a.en.txt", "text")
    assert captions(scan(".en.txt")) == {"a.png": "text"}


def test_text_files_are_counted_where_captions_have_another_extension(put: Put, scan: Scan) -> None:
    for name in ("a", "b", "c"):
        put(f"{name}.png")
    put("a.txt", "x")
    put("b.txt", "x")
    put("b.caption", "x")
    assert scan(".caption").text_files == 1
    assert scan(".caption").text_files == 1
    assert scan(".txt").text_files == 0


def test_two_different_captions_for_one_picture_are_told(put: Put, scan: Scan) -> None:
    for name, text in {"a": "one", "b": "other", "c": "one\n"}.items():
        put(f"{name}.png")
        put(f"{name}.txt", "one")
        put(f"{name}.caption", text)
    for extension in (".txt", ".caption"):
        assert scan(extension).double_captions == ("b.png",)
        assert scan(extension).double_captions == ("b.png",)
    assert scan(".tags").double_captions == ()


def test_a_changed_second_caption_is_noticed(put: Put, scan: Scan) -> None:
    for name, text in {"a.png": (8, 8), "a.txt": "one", "a.caption": "one"}.items():
        put(name, text)
    assert scan().double_captions == ()
    put("a.caption", "two", LONG_AGO + 1)
    assert scan().double_captions == ("a.png",)


def test_nothing_is_opened_where_nothing_has_changed(put: Put, scan: Scan, opened: list[str]) -> None:
    for name in ("a", "b"):
        put(f"{name}.png")
        put(f"{name}.txt", name)
    first = scan()
    assert sorted(opened) == ["a.png", "a.txt", "b.png", "b.txt"]
    opened.clear()
    second = scan()
    assert opened == []
    assert contents(second) == contents(first)


def test_only_what_has_changed_is_opened(put: Put, scan: Scan, opened: list[str], folder: Path) -> None:
    for name in ("a", "b", "c", "d"):
        put(f"{name}.png")
        put(f"{name}.txt", name)
    scan()
    opened.clear()
    put("a.txt", "longer")
    put("b.png", (16, 16), LONG_AGO + 1)
    put("aa.png", (24, 24))
    (folder / "c.png").unlink()
    table = scan()
    assert sorted(opened) == ["a.txt", "aa.png", "b.png"]
    assert captions(table) == {"a.png": "longer", "aa.png": "", "b.png": "b", "d.png": "d"}
    assert sizes(table) == {"a.png": [64, 32], "aa.png": [24, 24], "b.png": [16, 16], "d.png": [64, 32]}


def test_a_caption_that_comes_goes_or_is_edited_is_noticed(put: Put, scan: Scan, folder: Path) -> None:
    put("a.png")
    assert captions(scan()) == {"a.png": ""}
    put("a.txt", "new")
    assert captions(scan()) == {"a.png": "new"}
    put("a.txt", "now", LONG_AGO + 1)
    assert captions(scan()) == {"a.png": "now"}
    (folder / "a.txt").unlink()
    assert captions(scan()) == {"a.png": ""}
    assert scan().caption_states.tolist() == [CaptionState.NONE]


def test_files_written_just_before_a_scan_are_not_trusted_by_their_time(put: Put, scan: Scan) -> None:
    now = time.time()
    put("a.png", (64, 32), now)
    put("a.txt", "one", now)
    assert captions(scan()) == {"a.png": "one"}
    put("a.txt", "two", now)  # same length, same time
    put("a.png", (32, 64), now)
    assert captions(scan()) == {"a.png": "two"}
    assert sizes(scan()) == {"a.png": [32, 64]}


def test_files_are_trusted_once_a_scan_has_seen_them_settled(put: Put, scan: Scan, opened: list[str]) -> None:
    put("a.png", (64, 32), time.time() - 3)
    scan()
    opened.clear()
    scan()
    assert opened == []


def test_pictures_that_could_not_be_read_are_tried_again(put: Put, scan: Scan) -> None:
    put("a.png", b"no picture")
    put("b.png")
    assert sizes(scan()) == {"a.png": [0, 0], "b.png": [64, 32]}
    assert sizes(scan()) == {"a.png": [0, 0], "b.png": [64, 32]}


def test_a_caption_that_cannot_be_opened_is_told_and_tried_again(
    put: Put, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.png")
    put("a.txt", "secret")
    real = os.open

    def locked(path: Any, *rest: Any) -> int:
        if str(path).endswith(".txt"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    with monkeypatch.context() as context:
        context.setattr(os, "open", locked)
        assert scan().caption_states.tolist() == [CaptionState.UNREADABLE]
        assert scan().caption_states.tolist() == [CaptionState.UNREADABLE]
    assert captions(scan()) == {"a.png": "secret"}


def test_a_kept_table_equals_a_fresh_scan_after_many_changes(put: Put, scan: Scan, folder: Path) -> None:
    rng = np.random.default_rng(0)
    for step in range(12):
        for number in rng.integers(0, 12, 6).tolist():
            stem = f"p{number}_1_2_3_4" if number % 3 == 0 else f"p{number}"
            suffix = str(rng.choice([".png", ".jpg", ".txt", ".caption", ".heic"]))
            (folder / f"{stem}{suffix}").unlink(missing_ok=True)
            if rng.random() < 0.8:
                picture = suffix in SUFFIXES and rng.random() < 0.9
                sides = (int(rng.integers(1, 99)), int(rng.integers(1, 99)))
                put(f"{stem}{suffix}", sides if picture else f"text {step}", LONG_AGO + step)
        assert contents(scan()) == contents(scan(keep=None))


def test_nothing_is_written_without_a_place_to_keep(put: Put, scan: Scan, keep: Path) -> None:
    put("a.png")
    scan(keep=None)
    assert not keep.exists()


def test_a_list_keeps_its_order_and_misses_are_without_size(put: Put, folder: Path, keep: Path) -> None:
    paths = [put("b.png", (8, 9)), folder / "none.png", put("a.png")]
    for table in (scan_list(paths, keep), scan_list(paths, keep)):
        assert [table.path(row) for row in range(3)] == paths
        assert table.sizes.tolist() == [[8, 9], [0, 0], [64, 32]]
        assert table.caption_states.tolist() == [CaptionState.NONE] * 3


def test_a_list_that_grows_reads_what_is_new(put: Put, folder: Path, keep: Path, opened: list[str]) -> None:
    paths = [put("b.png", (8, 9)), put("a.png")]
    scan_list(paths, keep, folder / "meta.json")
    opened.clear()
    table = scan_list([put("c.png"), *paths], keep, folder / "meta.json")
    assert opened == ["c.png"]
    assert table.sizes.tolist() == [[64, 32], [8, 9], [64, 32]]


def test_a_picture_that_was_missing_is_found_later(put: Put, folder: Path, keep: Path) -> None:
    assert scan_list([folder / "a.png"], keep).sizes.tolist() == [[0, 0]]
    put("a.png")
    assert scan_list([folder / "a.png"], keep).sizes.tolist() == [[64, 32]]
