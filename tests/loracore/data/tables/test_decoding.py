from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from loracore.data.pictures.images import inspect
from loracore.data.tables import decoding
from loracore.data.tables.decoding import check_decoding
from loracore.data.tables.folder_table import scan_folder
from loracore.data.tables.picture_table import Decoded, PictureTable

LONG_AGO = 1_000_000_000  # s since 1970


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of one picture that is cut short, one that is no picture, and two whole ones."""
    found = tmp_path / "pics"
    found.mkdir()
    for name in ("a.jpg", "b.png", "c.png"):
        Image.effect_noise((64, 32), 50).convert("RGB").save(found / name)
    (found / "b.png").write_bytes((found / "b.png").read_bytes()[:1000])
    (found / "d.png").write_bytes(b"no picture")
    for path in found.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    return found


def scan(folder: Path, keep: Path | None = None) -> PictureTable:
    return scan_folder(folder, ".txt", frozenset({".png", ".jpg"}), keep)


@pytest.mark.parametrize("workers", [1, 3])
def test_broken_pictures_are_told_with_the_reason(folder: Path, workers: int) -> None:
    table, reasons = check_decoding(scan(folder), range(4), None, workers)
    assert table.decoded.tolist() == [Decoded.WHOLE, Decoded.BROKEN, Decoded.WHOLE, Decoded.BROKEN]
    assert sorted(reasons) == [1, 3]
    assert "cannot be decoded" in reasons[1]
    assert "no picture format" in reasons[3]


def test_only_the_rows_asked_for_are_tried(folder: Path) -> None:
    table, reasons = check_decoding(scan(folder), [3], None, 1)
    assert table.decoded.tolist() == [Decoded.UNKNOWN] * 3 + [Decoded.BROKEN]
    assert list(reasons) == [3]


def test_whole_pictures_are_tried_once_and_broken_ones_every_time(
    folder: Path, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = check_decoding(scan(folder, keep), range(4), keep, 1)
    tried: list[str] = []

    def spy(path: Path) -> tuple[int, int]:
        tried.append(path.name)
        return inspect(path)

    monkeypatch.setattr(decoding, "inspect", spy)
    before = list(keep.iterdir())
    table, second = check_decoding(scan(folder, keep), range(4), keep, 1)
    assert tried == ["b.png", "d.png"]
    assert second == first
    assert table.decoded.tolist() == [Decoded.WHOLE, Decoded.BROKEN, Decoded.WHOLE, Decoded.BROKEN]
    assert list(keep.iterdir()) == before  # nothing new is known


def test_progress_counts_the_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_PARCEL", 3)
    told: list[int] = []
    check_decoding(scan(folder), range(4), None, 2, told.append)
    assert told == [3, 4]


def test_a_picture_that_was_replaced_by_a_whole_one_is_tried_again(folder: Path, keep: Path) -> None:
    check_decoding(scan(folder, keep), range(4), keep, 1)
    Image.new("RGB", (20, 10)).save(folder / "b.png")
    table, reasons = check_decoding(scan(folder, keep), range(4), keep, 1)
    assert list(reasons) == [3]
    assert table.sizes[1].tolist() == [20, 10]


def test_the_size_that_decoding_finds_is_taken(folder: Path) -> None:
    table = scan(folder)
    Image.new("RGB", (20, 10)).save(folder / "d.png")  # after the scan
    done, _ = check_decoding(table, [3], None, 1)
    assert done.sizes[3].tolist() == [20, 10]


def test_what_was_tried_before_an_interruption_is_kept(
    folder: Path, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_PARCEL", 1)

    def stop(tried: int) -> None:
        if tried == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_decoding(scan(folder, keep), range(4), keep, 1, stop)
    # the broken one makes the table that is kept no less of use
    assert scan(folder, keep).decoded.tolist()[0] == Decoded.WHOLE
