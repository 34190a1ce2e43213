from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from loracore.data.store.records import RECORD
from loracore.data.store.slots import Place, Segment, SlotTable


def records(*offsets: int) -> NDArray[np.void]:
    made = np.zeros(len(offsets), RECORD)
    made["offset"], made["length"], made["check"] = offsets, 10, 3
    return made


def test_slots_are_numbered_as_records_come() -> None:
    table = SlotTable()
    assert table.add(0, 0, records(64, 128), np.array([True, True])) == 0
    assert table.add(1, 0, records(192), np.array([True])) == 2
    assert [table[slot] for slot in range(3)] == [Place(64, 10, 3, 0), Place(128, 10, 3, 0), Place(192, 10, 3, 1)]


def test_a_record_that_cannot_be_used_has_a_slot_without_bytes() -> None:
    table = SlotTable()
    table.add(0, 0, records(64, 128), np.array([False, True]))
    assert [table[slot].length for slot in range(2)] == [0, 10]


def test_records_that_follow_one_another_are_one_segment() -> None:
    table = SlotTable()
    for shard, first in ((0, 0), (0, 1), (1, 0), (0, 2)):
        table.add(shard, first, records(64), np.array([True]))
    table.add(2, 0, records(), np.array([], np.bool_))
    assert table.segments == (Segment(0, 0, 2), Segment(1, 0, 1), Segment(0, 2, 1))


@pytest.mark.parametrize("slot", [-1, 1])
def test_a_number_that_is_no_slot_is_an_index_error(slot: int) -> None:
    table = SlotTable()
    table.add(0, 0, records(64), np.array([True]))
    with pytest.raises(IndexError, match=r"no slot -?1 of 1"):
        table[slot]


def test_columns_grow_by_a_share() -> None:
    table = SlotTable()
    for number in range(5000):
        table.add(0, number, records(number * 64), np.array([True]))
    assert [table[slot].offset for slot in (0, 4999)] == [0, 4999 * 64]
    assert table._places.nbytes / len(table) <= 24
