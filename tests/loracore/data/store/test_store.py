from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loracore.data.store.entries import DamagedEntryError
from loracore.data.store.store import Store
from loracore.errors import DataError

if TYPE_CHECKING:
    from tests.loracore.data.store.conftest import Key, Keys, MakeEntry, Script


def fill(folder: Path, numbers: range, key: Key, entry: MakeEntry, shard_bytes: int = 1 << 30) -> None:
    """Store the entries of some numbers, as a run of its own would."""
    with Store(folder, shard_bytes=shard_bytes) as store:
        for number in numbers:
            store.append(key(number), entry(number))


def test_what_was_stored_is_found_by_the_next_run(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(3), key, entry)
    assert Store(tmp_path).read_key(key(1)) == entry(1)
    assert Store(tmp_path).read_key(key(3)) is None


def test_what_was_appended_is_found_once_it_is_flushed(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path) as store:
        store.append(key(1), entry(1))
        assert store.slot(key(1)) == -1
        store.flush()
        assert store.read(store.slot(key(1))) == entry(1)


def test_much_is_flushed_without_being_asked(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path) as store:
        store.append(key(1), entry(1, 1 << 25))
        assert store.slot(key(1)) == 0


def test_many_keys_are_found_at_once(tmp_path: Path, key: Key, keys: Keys, entry: MakeEntry) -> None:
    fill(tmp_path, range(50), key, entry)
    store = Store(tmp_path)
    found = store.find(keys(range(40, 60)))
    assert found.tolist() == [store.slot(key(number)) for number in range(40, 60)]
    assert (found >= 0).tolist() == [number < 50 for number in range(40, 60)]


def test_the_first_entry_of_a_key_stays(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path) as store:
        for number in (1, 2):
            store.append(key(0), entry(number))
        store.flush()
        store.append(key(0), entry(3))
    assert Store(tmp_path).read_key(key(0)) == entry(1)
    assert Store(tmp_path).usage()[0] == 1


def test_what_was_appended_is_a_copy(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    given = dict(entry(1))
    buffer = bytearray(given["mean"].data)
    given["mean"] = type(given["mean"])("U8", (100,), memoryview(buffer))
    with Store(tmp_path) as store:
        store.append(key(1), given)
        buffer[:] = bytes(100)
        store.flush()
        assert store.read_key(key(1)) == entry(1)


def test_what_is_read_is_read_only(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(1), key, entry)
    assert Store(tmp_path).read(0)["mean"].data.readonly


def test_a_full_shard_is_followed_by_another(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(20), key, entry, shard_bytes=1000)
    store = Store(tmp_path)
    assert len(list(tmp_path.glob("v1/*.data"))) == 3  # seven entries of 164 bytes and more go beyond 1000
    assert [store.read_key(key(number)) for number in range(20)] == [entry(number) for number in range(20)]


def test_more_shards_than_may_be_open_are_read(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(300), key, entry, shard_bytes=1)
    store = Store(tmp_path)
    for _ in range(2):
        assert all(store.read_key(key(number)) == entry(number) for number in range(300))


def test_refresh_finds_what_another_run_stored_and_keeps_slots(
    tmp_path: Path, key: Key, keys: Keys, entry: MakeEntry
) -> None:
    fill(tmp_path, range(5), key, entry)
    store = Store(tmp_path)
    before = store.find(keys(range(5)))
    fill(tmp_path, range(9), key, entry)
    store.refresh()
    assert store.find(keys(range(5))).tolist() == before.tolist()
    assert store.read_key(key(8)) == entry(8)


def test_a_map_grows_with_its_shard(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path) as writer, Store(tmp_path, read_only=True) as reader:
        for number in range(3):
            writer.append(key(number), entry(number, 5000))
            writer.flush()
            reader.refresh()
            assert reader.read_key(key(number)) == entry(number, 5000)
    assert len(list(tmp_path.glob("v1/*.data"))) == 1


def test_a_pickled_store_has_the_same_slots_whatever_came_since(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path) as store:
        store.append(key(1), entry(1))
        store.flush()
        fill(tmp_path, range(2, 4), key, entry)
        store.refresh()
        pickled = pickle.dumps(store)
    fill(tmp_path, range(4, 6), key, entry)
    copy = pickle.loads(pickled)  # noqa: S301 - our own
    assert [copy.slot(key(number)) for number in range(1, 6)] == [store.slot(key(number)) for number in range(1, 6)]
    assert copy.read(store.slot(key(3))) == entry(3)
    copy.refresh()
    assert copy.read_key(key(5)) == entry(5)


def test_a_pickled_store_whose_shard_is_gone_has_damaged_entries(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(2), key, entry)
    pickled = pickle.dumps(Store(tmp_path))
    for path in tmp_path.glob("v1/*"):
        path.unlink()
    copy = pickle.loads(pickled)  # noqa: S301 - our own
    assert copy.slot(key(1)) == -1
    with pytest.raises(DamagedEntryError):
        copy.read(1)


def test_an_entry_of_other_bytes_is_damaged_and_made_anew_once_forgotten(
    tmp_path: Path, key: Key, entry: MakeEntry
) -> None:
    fill(tmp_path, range(2), key, entry)
    (data,) = tmp_path.glob("v1/*.data")
    data.write_bytes(bytes(64) + data.read_bytes()[64:])
    with Store(tmp_path) as store:
        slot = store.slot(key(0))
        with pytest.raises(DamagedEntryError, match=r"\.data: a cached entry cannot be read: another entry"):
            store.read(slot)
        store.forget(slot)
        assert store.slot(key(0)) == -1
        store.append(key(0), entry(0))
    again = Store(tmp_path)
    assert [again.read_key(key(number)) for number in range(2)] == [entry(0), entry(1)]


def test_forgetting_lasts_without_a_new_entry(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(3), key, entry)
    with Store(tmp_path) as store:
        store.forget(store.slot(key(1)))
    assert [Store(tmp_path).slot(key(number)) >= 0 for number in range(3)] == [True, False, True]
    assert Store(tmp_path).notes == ()


def test_another_process_learns_what_was_forgotten(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(3), key, entry)
    other = Store(tmp_path)
    with Store(tmp_path) as store:
        store.forget(store.slot(key(1)))
    other.refresh()
    assert [other.slot(key(number)) >= 0 for number in range(3)] == [True, False, True]


@pytest.mark.parametrize("slot", [-1, 1])
def test_a_number_that_is_no_slot_is_refused(tmp_path: Path, key: Key, entry: MakeEntry, slot: int) -> None:
    fill(tmp_path, range(1), key, entry)
    with pytest.raises(IndexError):
        Store(tmp_path).read(slot)


def test_a_short_key_is_refused(tmp_path: Path, entry: MakeEntry) -> None:
    with Store(tmp_path) as store, pytest.raises(ValueError, match="a key has 16 bytes, not 3"):
        store.append(b"abc", entry(0))


def test_a_folder_that_is_not_there_is_an_empty_store(tmp_path: Path, keys: Keys) -> None:
    store = Store(tmp_path / "none", read_only=True)
    assert (store.find(keys(range(2))).tolist(), store.usage(), store.notes) == ([-1, -1], (0, 0), ())
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(DataError, match=r"file: the cache cannot be written: .*another cache_dir"):
        Store(tmp_path / "file")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no folders that may only be read")
def test_a_folder_that_may_only_be_read_is_read(tmp_path: Path, key: Key, entry: MakeEntry, script: Script) -> None:
    fill(tmp_path / "cache", range(2), key, entry)
    (tmp_path / "cache" / "v1").chmod(0o555)
    code = """
import pickle
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere; the working folder spares the way through root's own
store = Store(Path("cache"))
for store in (store, Store(Path("cache"), read_only=True), pickle.loads(pickle.dumps(store))):
    print(store.read_key(key(1)) == entry(1))
    store.forget(store.slot(key(1)))
    store.close()
    try:
        store.append(key(2), entry(2))
    except (DataError, ValueError) as error:
        print(error)
"""
    tmp_path.chmod(0o755)
    told, trouble = script(code, cwd=tmp_path).communicate()
    (tmp_path / "cache" / "v1").chmod(0o755)
    refused = "cache: the cache cannot be written: Permission denied (make it writable or choose another cache_dir)"
    lines = ["True", refused, "True", "the store was opened for reading only", "True", refused]
    assert told.splitlines() == lines, trouble


def test_entries_whose_beginning_is_gone_are_told_at_once(
    tmp_path: Path, key: Key, keys: Keys, entry: MakeEntry
) -> None:
    for numbers in (range(10), range(10, 14)):  # two shards
        fill(tmp_path, numbers, key, entry)
    store = Store(tmp_path)
    slots = store.find(keys(range(15)))
    assert store.damaged(slots).tolist() == []
    first = max(tmp_path.glob("v1/*.data"), key=lambda path: path.stat().st_size)
    half = first.stat().st_size // 2
    first.write_bytes(first.read_bytes()[:half] + bytes(half))
    assert sorted(store.damaged(slots)) == sorted(slots[5:10])
    os.truncate(first, half)
    assert sorted(store.damaged(slots)) == sorted(slots[5:10])
    first.unlink()
    assert sorted(store.damaged(slots)) == sorted(slots[:10])


def test_many_are_forgotten_at_once_and_said_once_a_shard(
    tmp_path: Path, key: Key, keys: Keys, entry: MakeEntry
) -> None:
    fill(tmp_path, range(10), key, entry)
    with Store(tmp_path) as store:
        store.forget(*store.find(keys(range(3, 9))).tolist())
        assert [note.partition(": ")[2] for note in store.notes] == [
            "6 of its entries are damaged; they are made again"
        ]
    assert (Store(tmp_path).find(keys(range(10))) < 0).tolist() == [False] * 3 + [True] * 6 + [False]


def test_a_read_only_store_refuses_entries(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with pytest.raises(ValueError, match="for reading only"):
        Store(tmp_path, read_only=True).append(key(1), entry(1))


def test_an_empty_look_up_is_empty(tmp_path: Path) -> None:
    assert Store(tmp_path).find(np.empty((0, 16), np.uint8)).tolist() == []


def test_usage_counts_entries_and_bytes(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    fill(tmp_path, range(10), key, entry)
    entries, size = Store(tmp_path).usage()
    assert (entries, size) == (10, sum(path.stat().st_size for path in tmp_path.rglob("*.*")))
    assert size > 10 * 100


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_forked_process_leaves_its_parents_entries_and_shard_alone(
    tmp_path: Path, key: Key, entry: MakeEntry, script: Script
) -> None:
    code = """
store = Store(Path(sys.argv[1]))
store.append(key(0), entry(0))
store.flush()
store.append(key(1), entry(1))
warnings.simplefilter("ignore")  # Python 3.12 warns of forks while numpy's threads exist
child = os.fork()
store.append(key(2 if child else 3), entry(2 if child else 3))
store.close()
if child:
    print(os.waitpid(child, 0)[1])
"""
    told, trouble = script(code, tmp_path).communicate()
    assert (told, trouble) == ("0\n", "")
    store = Store(tmp_path)
    assert [store.read_key(key(number)) for number in range(4)] == [entry(number) for number in range(4)]
    assert sorted(int(path.stat().st_size) for path in tmp_path.glob("v1/*.index")) == [32 + 32, 32 + 3 * 32]
