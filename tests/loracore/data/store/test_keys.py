from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.data.store.keys import Halves, KeyTable, halves, key_bytes, key_halves

_KEYS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12)


def columns(pairs: list[tuple[int, int]]) -> Halves:
    return np.array(pairs, dtype=np.uint64).reshape(-1, 2)


@given(batches=st.lists(_KEYS, max_size=6))
def test_the_first_slot_of_each_key_is_found(batches: list[list[tuple[int, int]]]) -> None:
    table, known, slot = KeyTable(), dict[tuple[int, int], int](), 0
    for batch in batches:
        table.add(columns(batch), np.arange(slot, slot + len(batch)))
        for number, pair in enumerate(batch):
            known.setdefault(pair, slot + number)
        slot += len(batch)
    every = [(high, low) for high in range(4) for low in range(4)]
    expected = [known.get(pair, -1) for pair in every]
    assert table.find(columns(every)).tolist() == expected == [table.slot(*pair) for pair in every]
    assert len(table) == len(known)


@given(keys=_KEYS.filter(bool), at=st.integers(0, 11))
def test_a_dropped_key_leads_nowhere(keys: list[tuple[int, int]], at: int) -> None:
    table = KeyTable()
    for slot, pair in enumerate(keys):
        table.add(columns([pair]), np.array([slot]))
    gone = keys[at % len(keys)]
    slot = table.slot(*gone)
    slots, halves_of_keys = table.drop(np.array([slot]))
    assert (slots.tolist(), halves_of_keys.tolist()) == ([slot], [list(gone)])
    others = set(keys) - {gone}
    assert table.slot(*gone) == -1
    assert all(table.slot(*pair) == keys.index(pair) for pair in others)


def test_dropping_a_slot_without_key_finds_none() -> None:
    table = KeyTable()
    table.add(columns([(1, 1), (1, 1)]), np.array([0, 1]))
    assert [len(found) for found in table.drop(np.array([1]))] == [0, 0]


def test_many_keys_are_dropped_at_once_from_several_runs() -> None:
    table = KeyTable()
    for start, stop in ((0, 100), (100, 130), (130, 135)):
        table.add(columns([(slot, slot) for slot in range(start, stop)]), np.arange(start, stop))
    slots, _ = table.drop(np.arange(90, 130))
    assert (sorted(slots.tolist()), len(table)) == (list(range(90, 130)), 95)
    assert [table.slot(at, at) for at in (89, 90, 129, 130)] == [89, -1, -1, 130]


def test_a_key_and_its_halves_are_one() -> None:
    key = bytes(range(16))
    (row,) = halves(np.frombuffer(key, np.uint8).reshape(1, 16)).tolist()
    assert tuple(row) == key_halves(key)
    assert key_bytes(*key_halves(key)) == key


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a key has 16 bytes, not 15"):
        key_halves(bytes(15))


def test_thousands_of_small_batches_stay_few_runs() -> None:
    table = KeyTable()
    for slot in range(2000):
        table.add(columns([(slot * 7919 % 2003, slot)]), np.array([slot]))
    assert len(table._runs) <= 12
    assert table.slot(1999 * 7919 % 2003, 1999) == 1999
