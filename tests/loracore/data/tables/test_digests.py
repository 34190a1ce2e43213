from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

import pytest

from loracore.data.tables import digests
from loracore.data.tables.digests import equal_lengths, same_pictures, with_digests
from loracore.data.tables.folder_table import scan_folder
from loracore.data.tables.picture_table import PictureTable

LONG_AGO = 1_000_000_000  # s since 1970


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def write(folder: Path, **contents: bytes) -> Path:
    """Write files that need no decoding: digests are of bytes."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        path = folder / f"{name}.png"
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def scan(folder: Path, keep: Path | None = None) -> PictureTable:
    return scan_folder(folder, ".txt", frozenset({".png"}), keep)


def paint(path: Path, colour: str) -> None:
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (16, 16), colour).save(path)
    os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.mark.parametrize("workers", [1, 3])
def test_digests_are_blake2b_of_the_bytes(tmp_path: Path, workers: int) -> None:
    table = with_digests(scan(write(tmp_path / "a", x=b"one", y=b"two" * 10**6)), range(2), None, workers)
    expected = [blake2b(content, digest_size=16).digest() for content in (b"one", b"two" * 10**6)]
    assert [row.tobytes() for row in table.digests] == expected
    assert table.has_digest.tolist() == [True, True]


def test_only_the_rows_asked_for_are_hashed(tmp_path: Path) -> None:
    table = scan(write(tmp_path / "a", x=b"one", y=b"two", z=b"three"))
    assert with_digests(table, [2, 0], None, 1).has_digest.tolist() == [True, False, True]


def test_digests_are_kept(tmp_path: Path, keep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x", "y"):
        paint(tmp_path / "a" / f"{name}.png", "red")
    first = with_digests(scan(tmp_path / "a", keep), range(2), keep, 1)
    monkeypatch.delattr(digests, "_digest")
    second = with_digests(scan(tmp_path / "a", keep), range(2), keep, 1)
    assert second.digests.tolist() == first.digests.tolist()
    assert second.has_digest.all()


def test_the_digest_of_a_changed_picture_is_dropped(tmp_path: Path, keep: Path) -> None:
    paint(tmp_path / "a" / "x.png", "red")
    paint(tmp_path / "a" / "y.png", "red")
    with_digests(scan(tmp_path / "a", keep), range(2), keep, 1)
    os.utime(tmp_path / "a" / "x.png", (LONG_AGO, LONG_AGO + 1))
    assert scan(tmp_path / "a", keep).has_digest.tolist() == [False, True]


def test_what_was_hashed_before_an_interruption_is_kept(
    tmp_path: Path, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x", "y"):
        paint(tmp_path / "a" / f"{name}.png", "red")
    real = digests._digest

    def interrupted(path: Path) -> bytes | None:
        if path.name == "y.png":
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(digests, "_digest", interrupted)
    monkeypatch.setattr(digests, "_PARCEL", 1)
    with pytest.raises(KeyboardInterrupt):
        with_digests(scan(tmp_path / "a", keep), range(2), keep, 1)
    assert scan(tmp_path / "a", keep).has_digest.tolist() == [True, False]


def test_a_file_that_is_gone_has_no_digest(tmp_path: Path) -> None:
    table = scan(write(tmp_path / "a", x=b"one", y=b"two"))
    table.path(0).unlink()
    assert with_digests(table, range(2), None, 1).has_digest.tolist() == [False, True]


def test_equal_bytes_are_found_across_folders(tmp_path: Path) -> None:
    tables = [
        scan(write(tmp_path / "a", p=b"same", q=b"else", r=b"longer")),
        scan(write(tmp_path / "b", p=b"some", s=b"same", t=b"longer")),
    ]
    assert sorted(same_pictures(tables)) == [[(0, 0), (1, 1)], [(0, 2), (1, 2)]]


def test_only_pictures_of_equal_length_are_candidates(tmp_path: Path) -> None:
    tables = [scan(write(tmp_path / "a", p=b"abc", q=b"d")), scan(write(tmp_path / "b", r=b"xyz", s=b"ab"))]
    assert [rows.tolist() for rows in equal_lengths(tables)] == [[0], [0]]
    assert same_pictures(tables) == []


def test_a_folder_that_is_used_twice_is_no_duplicate_of_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", p=b"same", q=b"same", r=b"xxxx")
    assert same_pictures([scan(folder), scan(folder)]) == [[(0, 0), (0, 1)]]


def test_empty_files_are_no_duplicates(tmp_path: Path) -> None:
    assert same_pictures([scan(write(tmp_path / "a", p=b"", q=b""))]) == []


def test_without_tables_there_are_no_duplicates() -> None:
    assert same_pictures([]) == []
