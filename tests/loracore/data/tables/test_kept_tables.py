from __future__ import annotations

import json
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loracore.data import renaming
from loracore.data.tables import kept_tables
from loracore.data.tables.folder_table import scan_folder
from loracore.data.tables.kept_tables import load_table, save_table
from loracore.data.tables.picture_table import PictureTable

LONG_AGO = 1_000_000_000  # s since 1970


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "pics"
    found.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (64, 32)).save(found / f"{name}.png")
        (found / f"{name}.txt").write_text(f"caption {name}", encoding="utf-8")
    for path in found.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    return found


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "kept"


@pytest.fixture
def table(folder: Path, keep: Path) -> PictureTable:
    return scan(folder, keep)


def scan(folder: Path, keep: Path) -> PictureTable:
    return scan_folder(folder, ".txt", frozenset({".png"}), keep)


def kept_file(keep: Path) -> Path:
    (found,) = keep.iterdir()
    return found


def is_mapped(array: np.ndarray[Any, Any]) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


@pytest.mark.usefixtures("table")
def test_a_kept_table_is_mapped_and_used_as_it_is(folder: Path, keep: Path) -> None:
    before = kept_file(keep)
    table = scan(folder, keep)
    assert all(is_mapped(array) for array in (table.sizes, table.captions.blob, table.names.offsets, table.digests))
    assert kept_file(keep) == before
    assert table.note == ""
    assert not table.sizes.flags.writeable


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[:-10],
    "cut to nothing": lambda _: b"",
    "longer": lambda data: data + b"\0",
    "a changed byte": lambda data: data[:-200] + bytes([data[-200] ^ 1]) + data[-199:],
    "a changed header": lambda data: data.replace(b'"text_files": 0', b'"text_files": 7'),
    "something else": lambda _: b"something else altogether",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.usefixtures("table")
def test_damaged_tables_are_made_again_and_that_is_said(folder: Path, keep: Path, damage: str) -> None:
    path = kept_file(keep)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = scan(folder, keep)
    assert list(again.captions) == ["caption a", "caption b"]
    assert "the kept table of" in again.note
    assert "is damaged; it is made again" in again.note
    assert scan(folder, keep).note == ""


@pytest.mark.parametrize(
    ("key", "value", "said"), [("version", 0, "is of another version"), ("place", "/x", "belongs to another folder")]
)
@pytest.mark.usefixtures("table")
def test_other_tables_are_made_again(folder: Path, keep: Path, key: str, value: object, said: str) -> None:
    path = kept_file(keep)
    data = path.read_bytes()
    _, length, _ = kept_tables._PREFIX.unpack_from(data)
    start = kept_tables._PREFIX.size
    header = json.dumps({**json.loads(data[start : start + length]), key: value}).encode()
    prefix = kept_tables._PREFIX.pack(kept_tables._MAGIC, len(header), zlib.crc32(header))
    path.write_bytes(prefix + header + data[start + length :])
    assert said in scan(folder, keep).note


def test_tables_of_other_folders_and_extensions_stand_beside_each_other(folder: Path, keep: Path) -> None:
    scan(folder, keep)
    scan_folder(folder, ".caption", frozenset({".png"}), keep)
    assert len(list(keep.iterdir())) == 2
    assert list(scan(folder, keep).captions) == ["caption a", "caption b"]


@pytest.mark.usefixtures("table")
def test_a_new_table_replaces_the_old_one_which_stays_readable(folder: Path, keep: Path) -> None:
    old = scan(folder, keep)
    before = kept_file(keep)
    (folder / "a.txt").write_text("edited", encoding="utf-8")
    assert list(scan(folder, keep).captions) == ["edited", "caption b"]
    assert kept_file(keep) != before
    assert list(old.captions) == ["caption a", "caption b"]


def test_a_clock_that_was_set_back_does_not_hide_the_new_table(
    table: PictureTable, folder: Path, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    save_table(keep, replace(table, text_files=7))
    found, _ = load_table(keep, table.origin.place, ".txt", folder)
    assert found is not None
    assert found.text_files == 7


@pytest.mark.usefixtures("table")
def test_files_with_odd_names_are_left_alone(folder: Path, keep: Path) -> None:
    odd = keep / f"{kept_file(keep).name.split('.')[0]}.odd.pictures"
    odd.write_bytes(b"x")
    assert scan(folder, keep).note == ""
    assert odd.exists()


def test_unfinished_files_are_removed_after_an_hour(table: PictureTable, keep: Path) -> None:
    key, begun, _ = kept_file(keep).name.split(".")
    old = keep / f"{key}.{int(begun) - 3601 * 10**9}.1.part"
    young = keep / f"{key}.{int(begun) - 3000 * 10**9}.1.part"
    old.touch()
    young.touch()
    save_table(keep, table)
    assert not old.exists()
    assert young.exists()


def test_a_place_that_cannot_be_written_is_no_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    table = scan(folder, tmp_path / "file")
    assert list(table.captions) == ["caption a", "caption b"]
    assert "could not be kept" in table.note


def test_a_full_disk_is_said_and_leaves_nothing_behind(
    table: PictureTable, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept_file(keep)

    def full(_: PictureTable) -> Any:
        yield b"begun"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_tables, "_parts", full)
    assert "No space left on device" in save_table(keep, table).note
    assert kept_file(keep) == before


def test_a_file_that_is_held_for_a_moment_is_waited_for(
    table: PictureTable, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = Path.replace, [1, 1]

    def held(source: Path, target: Path) -> Path:
        if failures:
            failures.pop()
            raise PermissionError(13, "held")
        return real(source, target)

    monkeypatch.setattr(Path, "replace", held)
    monkeypatch.setattr(renaming, "_PAUSE", 0)
    assert save_table(keep, table).note == ""


def _scan_often(folder: Path, keep: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        path = folder / "a.txt"
        os.utime(path, ns=(0, LONG_AGO * 10**9 + int(rng.integers(0, 10**9))))
        table = scan(folder, keep)
        assert list(table.captions) == ["caption a", "caption b"], table.note
        assert "damaged" not in table.note, table.note


def test_two_processes_may_keep_the_same_table_at_once(folder: Path, keep: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_scan_often, args=(folder, keep, seed)) for seed in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0]
    assert scan(folder, keep).note == ""
