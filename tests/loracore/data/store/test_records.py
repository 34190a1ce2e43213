from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loracore.data.store.records import RECORD, checks, header, index_bytes, read_index


def records(count: int, seed: int = 5) -> NDArray[np.void]:
    """Return sound records."""
    made: NDArray[np.void] = np.frombuffer(np.random.default_rng(1).bytes(count * RECORD.itemsize), RECORD).copy()
    made["check"] = checks(made, seed)
    return made


def test_an_index_is_read_from_any_record_on(tmp_path: Path) -> None:
    path = tmp_path / "a.index"
    path.write_bytes(header(5) + records(9).tobytes())
    assert path.stat().st_size == index_bytes(9)
    for first in (0, 4, 9):
        part = read_index(path, first)
        assert part.records.tobytes() == records(9)[first:].tobytes()
        assert (part.seed, part.problem, part.ends_within) == (5, "", False)


def test_a_record_that_is_cut_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.index"
    path.write_bytes((header(5) + records(3).tobytes())[:-1])
    part = read_index(path, 0)
    assert (len(part.records), part.ends_within) == (2, True)


@pytest.mark.parametrize("size", [0, 10])
def test_a_header_that_is_cut_holds_nothing(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.index").write_bytes(header(5)[:size])
    part = read_index(tmp_path / "a.index", 0)
    assert (len(part.records), part.ends_within) == (0, True)


def test_another_file_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "a.index").write_bytes(b"x" * 100)
    assert read_index(tmp_path / "a.index", 0).problem == "this is no index of a cache"


def test_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.index").write_bytes(header(5)[:8] + b"\x63" + header(5)[9:])
    assert read_index(tmp_path / "a.index", 0).problem == "its format is version 99, this loracore reads version 1"


def test_every_bit_of_a_record_is_under_its_check() -> None:
    (sound,) = records(1).view("V32").tolist()
    for bit in range(28 * 8):
        bent = bytearray(sound)
        bent[bit // 8] ^= 1 << bit % 8
        (found,) = np.frombuffer(bytes(bent), RECORD)
        assert checks(np.array([found]), 5)[0] != found["check"]


def test_checks_are_of_one_shard() -> None:
    assert not (checks(records(100), 5) == checks(records(100), 7)).any()


def test_zeros_are_no_record() -> None:
    assert checks(np.zeros(1, RECORD), 1)[0] != 0
