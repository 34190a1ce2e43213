from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from loracore.data.npz.npz_files import DamagedNpzError, Header, npz_arrays, npz_headers, remove_abandoned, write_npz


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file as numpy writes it."""
    path = tmp_path / "a.npz"
    np.savez(path, latents=np.arange(24, dtype=np.float32).reshape(2, 3, 4), flag=np.array(1, dtype=np.bool_))
    return path


def test_headers_tell_shapes_and_kinds(file: Path) -> None:
    assert npz_headers(file) == {"latents": Header((2, 3, 4), "f"), "flag": Header((), "b")}


def test_compressed_files_are_read_too(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", one=np.ones(5))
    assert npz_arrays(tmp_path / "a.npz", ["one"])["one"].tolist() == [1] * 5


def test_what_is_written_numpy_reads(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", {"one": np.eye(2), "two": np.array([True])})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found["one"].tolist() == [[1, 0], [0, 1]]
        assert found["two"].dtype == np.bool_


def test_every_cut_of_a_file_is_damage_and_nothing_else(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(DamagedNpzError, match=r"a\.npz"):
            npz_headers(file)


def test_changed_bytes_are_damage_or_leave_arrays_as_they_were(file: Path) -> None:
    whole, right = file.read_bytes(), npz_arrays(file, ["latents"])["latents"]
    outcomes: set[bool | None] = set()
    for place in range(0, len(whole), 3):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            outcomes.add(np.array_equal(npz_arrays(file, ["latents"])["latents"], right))
        except DamagedNpzError:
            outcomes.add(None)
    assert outcomes == {True, None}


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", objects=np.array([{"a": 1}], dtype=object))
    assert npz_headers(tmp_path / "a.npz")["objects"].kind == "O"
    with pytest.raises(DamagedNpzError):
        npz_arrays(tmp_path / "a.npz", ["objects"])


def test_an_absent_array_is_damage(file: Path) -> None:
    with pytest.raises(DamagedNpzError):
        npz_arrays(file, ["other"])


def test_a_header_that_is_no_header_is_damage(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("one.npy", b"\x93NUMPY\x01\x00\x10\x00((((((((((((((((")
    with pytest.raises(DamagedNpzError):
        npz_headers(tmp_path / "a.npz")


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(OSError, match=r"a\.npz"):
        write_npz(tmp_path / "a.npz", {"one": np.ones(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    abandoned, young, other = (tmp_path / name for name in (".a.npz.12.part", ".b.npz.12.part", ".notes.part"))
    for path in (abandoned, young, other):
        path.touch()
    for path in (abandoned, other):
        os.utime(path, (1000, 1000))
    remove_abandoned(tmp_path)
    assert set(tmp_path.iterdir()) == {young, other}


def test_a_folder_that_is_gone_has_nothing_abandoned(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "gone")
    assert not list(tmp_path.iterdir())
