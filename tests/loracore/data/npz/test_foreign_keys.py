from __future__ import annotations

import os
from pathlib import Path

import pytest

from loracore.data.npz.foreign_keys import foreign_key

OWN = bytes(16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.npz"
    path.write_bytes(b"one")
    os.utime(path, ns=(1000, 1000))
    return path


def test_a_file_in_the_place_of_an_entry_has_a_key_of_its_own(file: Path) -> None:
    found = foreign_key(OWN, file)
    assert found is not None
    assert len(found) == 16
    assert len({OWN, found, foreign_key(bytes([1] * 16), file)}) == 3


def test_a_moved_folder_keeps_its_keys(file: Path, tmp_path: Path) -> None:
    before = foreign_key(OWN, file)
    (tmp_path / "moved").mkdir()
    assert foreign_key(OWN, file.rename(tmp_path / "moved" / "a.npz")) == before


@pytest.mark.parametrize(("content", "time"), [(b"longer", 1000), (b"two", 1001)])
def test_a_changed_file_has_another_key(file: Path, content: bytes, time: int) -> None:
    before = foreign_key(OWN, file)
    file.write_bytes(content)
    os.utime(file, ns=(time, time))
    assert foreign_key(OWN, file) != before


def test_a_file_that_is_gone_has_none(tmp_path: Path) -> None:
    assert foreign_key(OWN, tmp_path / "gone.npz") is None
