from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.diffusion.number_lists import as_text, indices, numbers


@given(st.lists(st.integers(0, 999), min_size=1, max_size=8))
def test_numbers_come_back_as_they_were_written(values: list[int]) -> None:
    assert numbers(str(values), len(values)) == numbers(as_text(values), len(values)) == tuple(values)


@pytest.mark.parametrize("text", ["", "[]", "1", "1,2,3", "1,,2", "1,-2", "1,2.0", "[1,2", "1;2", "1,²"])
def test_anything_but_two_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no list of 2 whole numbers"):
        numbers(text, 2)


def test_ranges_hold_both_ends() -> None:
    assert indices(" 0 , 4-6,5, 9-9") == {0, 4, 5, 6, 9}


@pytest.mark.parametrize("text", ["", "1,", "x", "3-1", "1-", "-1", "0-99999999", "1-2-3"])
def test_anything_else_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="neither a number nor a range"):
        indices(text)
