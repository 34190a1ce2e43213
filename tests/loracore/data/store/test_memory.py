from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loracore.data.store.entries import DamagedEntryError
from loracore.data.store.memory import MemoryStore
from loracore.data.store.store import Store

if TYPE_CHECKING:
    from loracore.data.store.cache_store import CacheStore
    from tests.loracore.data.store.conftest import Key, Keys, MakeEntry


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CacheStore:
    """What both kinds of store must do alike."""
    return MemoryStore() if request.param == "memory" else Store(tmp_path)


def test_entries_are_found_once_flushed(store: CacheStore, key: Key, keys: Keys, entry: MakeEntry) -> None:
    for number in (1, 2):
        store.append(key(number), entry(number))
    assert store.find(keys(range(4))).tolist() == [-1, -1, -1, -1]
    store.flush()
    assert store.find(keys(range(4))).tolist() == [-1, 0, 1, -1]
    assert (store.slot(key(2)), store.read(1), store.read_key(key(3))) == (1, entry(2), None)


def test_the_first_of_a_key_stays(store: CacheStore, key: Key, entry: MakeEntry) -> None:
    for number in (1, 2):
        store.append(key(0), entry(number))
    store.flush()
    store.append(key(0), entry(3))
    store.close()
    assert (store.read(0), store.usage()[0], store.notes) == (entry(1), 1, ())


def test_entries_are_copied_in_and_read_only(store: CacheStore, key: Key, entry: MakeEntry) -> None:
    given = entry(1)["mean"]
    buffer = bytearray(given.data)
    store.append(key(1), {"mean": type(given)("U8", (100,), memoryview(buffer))})
    buffer[:] = bytes(100)
    store.flush()
    assert store.read(0) == entry(1)
    assert store.read(0)["mean"].data.readonly


def test_a_forgotten_entry_is_made_anew(store: CacheStore, key: Key, entry: MakeEntry) -> None:
    for number in (1, 2):
        store.append(key(number), entry(number))
    store.flush()
    store.forget(store.slot(key(1)))
    assert (store.slot(key(1)), store.read_key(key(2))) == (-1, entry(2))
    store.append(key(1), entry(3))
    store.flush()
    assert store.read_key(key(1)) == entry(3)


def test_no_slot_and_no_key_are_refused(store: CacheStore, entry: MakeEntry) -> None:
    for slot in (-1, 0):
        with pytest.raises(IndexError):
            store.read(slot)
    with pytest.raises(ValueError, match="16 bytes"):
        store.append(b"short", entry(1))


def test_a_pickled_copy_has_the_same_slots(store: CacheStore, key: Key, entry: MakeEntry) -> None:
    store.append(key(1), entry(1))
    store.flush()
    store.append(key(2), entry(2))
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    assert (copy.read(copy.slot(key(1))), copy.slot(key(2))) == (entry(1), -1)


def test_memory_tells_of_a_forgotten_slot(key: Key, entry: MakeEntry) -> None:
    store = MemoryStore()
    store.append(key(1), entry(1))
    store.flush()
    store.forget(0)
    assert store.damaged(np.array([-1, 0])).tolist() == [0]
    with pytest.raises(DamagedEntryError):
        store.read(0)
