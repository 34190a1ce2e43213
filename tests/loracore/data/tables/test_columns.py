from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loracore.data.tables import columns
from loracore.data.tables.columns import TextColumn, offsets_of

TEXTS = ["a cat", "", "Käse, 猫", "line\nline"]


def test_texts_come_back_by_row() -> None:
    column = TextColumn.from_texts(TEXTS)
    assert len(column) == 4
    assert [column[row] for row in range(4)] == TEXTS
    assert list(column) == TEXTS


def test_no_texts_are_a_column_too() -> None:
    assert list(TextColumn.from_texts([])) == []
    assert list(TextColumn.empty(2)) == ["", ""]


@pytest.mark.parametrize("row", [-1, 4])
def test_there_are_no_other_rows(row: int) -> None:
    with pytest.raises(IndexError):
        TextColumn.from_texts(TEXTS)[row]


def test_names_that_are_no_unicode_come_back_as_they_were() -> None:
    odd = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert TextColumn.from_texts([odd])[0] == odd


@pytest.mark.parametrize("gathered", [1, 3, 1000])
def test_rows_are_taken_in_the_order_asked_for(monkeypatch: pytest.MonkeyPatch, gathered: int) -> None:
    monkeypatch.setattr(columns, "_GATHERED", gathered)
    taken = TextColumn.from_texts(TEXTS).take(np.array([3, 0, 0, 1, 2]))
    assert list(taken) == [TEXTS[3], TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[2]]


def test_taking_nothing_leaves_nothing() -> None:
    assert list(TextColumn.from_texts(TEXTS).take(np.zeros(0, np.int64))) == []


def test_two_columns_can_be_joined() -> None:
    assert list(TextColumn.from_texts(TEXTS).joined(TextColumn.from_texts(["é"]))) == [*TEXTS, "é"]


def test_offsets_are_as_narrow_as_they_fit() -> None:
    assert offsets_of(np.array([2**32 - 1])).dtype == np.uint32
    assert offsets_of(np.array([2**31, 2**31])).dtype == np.uint64


def test_a_column_reads_from_a_mapped_file_without_copying_it(tmp_path: Path) -> None:
    column = TextColumn.from_texts(TEXTS)
    column.blob.tofile(tmp_path / "blob")
    mapped = np.memmap(tmp_path / "blob", np.uint8, "r")
    from_file = TextColumn(mapped, column.offsets)
    assert list(from_file) == TEXTS
    assert from_file.blob is mapped
