from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loracore.data.store.catalogue import Catalogue
from loracore.data.store.entries import DamagedEntryError
from loracore.data.store.store import Store

if TYPE_CHECKING:
    from tests.loracore.data.store.conftest import Key, Keys, MakeEntry


@pytest.fixture
def shard(tmp_path: Path, key: Key, entry: MakeEntry) -> Path:
    """A shard of ten entries; its path, without the suffix."""
    with Store(tmp_path) as store:
        for number in range(10):
            store.append(key(number), entry(number))
    (index,) = tmp_path.glob("v1/*.index")
    return index.with_suffix("")


def usable(folder: Path, key: Key, entry: MakeEntry) -> list[int]:
    """Return the numbers whose entries can be read; those that are found and cannot fail the test."""
    store = Store(folder)
    found = [number for number in range(20) if store.slot(key(number)) >= 0]
    assert all(store.read_key(key(number)) == entry(number) for number in found)
    return found


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_an_index_cut_within_a_record_keeps_the_whole_ones(
    tmp_path: Path, shard: Path, key: Key, entry: MakeEntry
) -> None:
    cut(shard.with_suffix(".index"), 32 + 4 * 32 + 7)
    assert usable(tmp_path, key, entry) == [0, 1, 2, 3]
    assert Store(tmp_path).notes == (f"{shard}.index: it ends within a record; what was cut off is made again",)


def test_data_cut_short_loses_the_entries_that_it_lacks(
    tmp_path: Path, shard: Path, key: Key, entry: MakeEntry
) -> None:
    data = shard.with_suffix(".data")
    cut(data, data.stat().st_size // 2)
    assert usable(tmp_path, key, entry) == [0, 1, 2, 3, 4]
    assert Store(tmp_path).notes == (f"{data}: it lacks the bytes of 5 cached entries; they are made again",)


@pytest.mark.parametrize("missing", [True, False])
def test_data_that_is_missing_or_empty_loses_its_entries(
    tmp_path: Path, shard: Path, key: Key, entry: MakeEntry, missing: bool
) -> None:
    data = shard.with_suffix(".data")
    data.unlink() if missing else data.write_bytes(b"")
    assert usable(tmp_path, key, entry) == []
    assert Store(tmp_path).notes == (f"{data}: it lacks the bytes of 10 cached entries; they are made again",)


def test_a_record_that_is_damaged_is_left_out(tmp_path: Path, shard: Path, key: Key, entry: MakeEntry) -> None:
    index = shard.with_suffix(".index")
    stored = bytearray(index.read_bytes())
    stored[32 + 3 * 32 + 20] ^= 1
    stored[32 + 5 * 32 : 32 + 6 * 32] = bytes(32)
    index.write_bytes(stored)
    assert usable(tmp_path, key, entry) == [0, 1, 2, 4, 6, 7, 8, 9]
    assert Store(tmp_path).notes == (f"{index}: 2 of its records are damaged; these entries are made again",)


@pytest.mark.parametrize(
    ("position", "trouble"), [(0, "this is no index of a cache"), (8, "its format is version 77, this loracore reads")]
)
def test_an_index_of_another_kind_is_not_used(
    tmp_path: Path, shard: Path, key: Key, entry: MakeEntry, position: int, trouble: str
) -> None:
    index = shard.with_suffix(".index")
    stored = bytearray(index.read_bytes())
    stored[position] = 77
    index.write_bytes(stored)
    assert usable(tmp_path, key, entry) == []
    (note,) = Store(tmp_path).notes
    assert note.startswith(f"{index}: {trouble}")
    assert note.endswith("its 10 cached entries are made again")


def test_an_empty_index_is_told(tmp_path: Path, shard: Path) -> None:
    shard.with_suffix(".index").write_bytes(b"")
    assert Store(tmp_path).notes == (f"{shard}.index: it ends within a record; what was cut off is made again",)


def test_an_index_that_cannot_be_read_is_told(tmp_path: Path, shard: Path, key: Key, entry: MakeEntry) -> None:
    shard.with_name("x.index").mkdir()
    assert usable(tmp_path, key, entry) == list(range(10))
    (note,) = Store(tmp_path).notes
    assert note.startswith(str(shard.with_name("x.index")))


def test_damage_is_left_as_it_is_and_what_is_lost_is_made_again(
    tmp_path: Path, shard: Path, key: Key, entry: MakeEntry
) -> None:
    cut(shard.with_suffix(".index"), 32 + 4 * 32 + 7)
    before = {path: path.read_bytes() for path in tmp_path.glob("v1/*")}
    with Store(tmp_path) as store:
        for number in range(12):
            store.append(key(number), entry(number))
    assert usable(tmp_path, key, entry) == list(range(12))
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(tmp_path.glob("v1/*"))) == 4


def test_damage_is_told_once(tmp_path: Path, shard: Path) -> None:
    with shard.with_suffix(".index").open("ab", buffering=0) as file:
        file.write(bytes(64))
        store = Store(tmp_path)
        file.write(bytes(32))
        store.refresh()
    assert store.notes == (f"{shard}.index: 2 of its records are damaged; these entries are made again",)


def test_a_record_that_another_process_has_written_half_is_taken_when_it_is_whole(
    tmp_path: Path, shard: Path, key: Key
) -> None:
    index = shard.with_suffix(".index")
    stored = index.read_bytes()
    index.write_bytes(b"")
    index.unlink()
    store = Store(tmp_path)
    for size in (0, 20, 32 + 64 + 5, len(stored)):
        index.write_bytes(stored[:size])
        store.refresh()
    assert [store.slot(key(number)) for number in range(10)] == list(range(10))
    assert store.notes == ()


def test_data_of_another_shard_is_noticed(tmp_path: Path, shard: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path / "other") as store:
        for number in range(10, 20):
            store.append(key(number), entry(number))
    (other,) = tmp_path.glob("other/v1/*.data")
    shutil.copy(other, shard.with_suffix(".data"))
    store = Store(tmp_path)
    with pytest.raises(DamagedEntryError, match="another entry stands in its place"):
        store.read_key(key(0))


def test_stretches_number_slots_alike_whatever_has_been_written_since(
    tmp_path: Path, shard: Path, keys: Keys, key: Key, entry: MakeEntry
) -> None:
    known = Catalogue(tmp_path / "v1")
    with Store(tmp_path) as store:
        store.append(key(15), entry(15))
    (newer,) = {path.with_suffix("") for path in tmp_path.glob("v1/*")} - {shard}
    for suffix in (".data", ".index"):  # so that it would come first
        newer.with_suffix(suffix).rename(newer.with_name("0" + suffix))
    copy = Catalogue(tmp_path / "v1", known.stretches)
    halves = keys(range(20)).view("<u8")
    assert np.array_equal(copy.find(halves), known.find(halves))
    copy.refresh()
    assert copy.find(halves)[15] == 10
