from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loracore.data.store.store import Store

if TYPE_CHECKING:
    from tests.loracore.data.store.conftest import Key, MakeEntry, Script

_LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


def test_two_processes_fill_one_folder_at_once(tmp_path: Path, key: Key, entry: MakeEntry, script: Script) -> None:
    code = """
store = Store(Path(sys.argv[1]), shard_bytes=20_000)
for number in range(*map(int, sys.argv[2:])):
    store.append(key(number), entry(number, 50 + number))
    if number % 7 == 0:
        store.flush()
store.close()
"""
    reader = Store(tmp_path)
    writers = [script(code, tmp_path, *bounds) for bounds in (("0", "300"), ("200", "500"))]
    for writer in writers:
        assert writer.communicate()[1] == ""
    reader.refresh()
    for store in (reader, Store(tmp_path)):
        assert all(store.read_key(key(number)) == entry(number, 50 + number) for number in range(500))
        assert store.notes == ()


def test_a_process_killed_while_it_appends_breaks_nothing(
    tmp_path: Path, key: Key, entry: MakeEntry, script: Script
) -> None:
    code = """
store = Store(Path(sys.argv[1]))
for number in range(1_000_000):
    store.append(key(number), entry(number, 50_000))
    store.flush()
    print(number, flush=True)
"""
    writer = script(code, tmp_path)
    assert writer.stdout is not None
    flushed = [int(writer.stdout.readline()) for _ in range(20)]
    writer.kill()
    writer.communicate()
    store = Store(tmp_path)
    assert all(store.read_key(key(number)) == entry(number, 50_000) for number in flushed)
    assert store.notes == ()
    assert all(store.read(slot) for slot in range(store.usage()[0]))


def test_what_a_killed_process_left_without_records_is_not_found(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path) as store:
        store.append(key(1), entry(1))
    (data,) = tmp_path.glob("v1/*.data")
    with data.open("ab") as file:
        file.write(b"half an entry")
    again = Store(tmp_path)
    assert (again.read_key(key(1)), again.notes) == (entry(1), ())


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path, key: Key, entry: MakeEntry, script: Script) -> None:
    pytest.importorskip("resource")
    code = """
limit(100_000)  # a file that may not grow answers as a full disk does
try:
    with Store(Path(sys.argv[1])) as store:
        for number in range(100):
            store.append(key(number), entry(number, 20_000))
            if number % 2:
                store.flush()
except DataError as error:
    print(error)
"""
    told, trouble = script(_LIMITED + code, tmp_path).communicate()
    assert trouble == ""
    assert f"{tmp_path}: the cache cannot be written: File too large (free space there" in told
    assert "the 4 entries that it holds are kept, the next run goes on from there" in told
    (data,) = tmp_path.glob("v1/*.data")
    assert 80_000 < data.stat().st_size < 81_000
    store = Store(tmp_path)
    assert [store.slot(key(number)) >= 0 for number in range(6)] == [True] * 4 + [False] * 2
    assert (store.read_key(key(3)), store.notes) == (entry(3, 20_000), ())


def test_a_shard_that_found_no_room_at_all_leaves_no_files(tmp_path: Path, script: Script) -> None:
    pytest.importorskip("resource")
    code = """
store = Store(Path(sys.argv[1]))
store.append(key(1), entry(1, 5000))
limit(1000)
try:
    store.flush()
except DataError:
    print(store.slot(key(1)), store.usage())
"""
    assert script(_LIMITED + code, tmp_path).communicate() == ("-1 (0, 0)\n", "")


def test_after_a_full_disk_the_same_store_goes_on(tmp_path: Path, key: Key, entry: MakeEntry, script: Script) -> None:
    pytest.importorskip("resource")
    code = """
store = Store(Path(sys.argv[1]))
for number, size in ((0, 1 << 30), (1, 6000), (1, 1 << 30)):
    store.append(key(number), entry(number, 5000))
    limit(size)
    try:
        store.flush()
    except DataError as error:
        print("full", "the 1 entries that it holds" in str(error))
"""
    assert script(_LIMITED + code, tmp_path).communicate() == ("full True\n", "")
    assert [Store(tmp_path).read_key(key(number)) for number in range(2)] == [entry(0, 5000), entry(1, 5000)]


def test_records_that_found_room_stay_when_the_index_is_cut(
    tmp_path: Path, key: Key, entry: MakeEntry, script: Script
) -> None:
    pytest.importorskip("resource")
    with Store(tmp_path) as store:
        for number in range(10):
            store.append(key(number), entry(number))
    code = """
store = Store(Path(sys.argv[1]))
for number in range(10):
    store.forget(store.slot(key(number)))
limit(32 + 4 * 32 + 10)
try:
    store.flush()
except DataError:
    print([store.slot(key(number)) for number in range(10)])
"""
    assert script(_LIMITED + code, tmp_path).communicate() == (f"{[-1] * 10}\n", "")
    again = Store(tmp_path)
    assert [again.slot(key(number)) >= 0 for number in range(10)] == [False] * 4 + [True] * 6
    assert again.notes == ()


def test_a_shard_that_was_meddled_with_is_not_appended_to(tmp_path: Path, key: Key, entry: MakeEntry) -> None:
    with Store(tmp_path) as store:
        store.append(key(1), entry(1))
        store.flush()
        (index,) = tmp_path.glob("v1/*.index")
        index.write_bytes(index.read_bytes()[:-5])
        store.append(key(2), entry(2))
    assert len(list(tmp_path.glob("v1/*.index"))) == 2
    again = Store(tmp_path)
    assert (again.slot(key(1)), again.read_key(key(2))) == (-1, entry(2))
