from __future__ import annotations

import pytest

from loracore.data.scan_messages import counted, some


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [(1, "picture", "1 picture"), (0, "picture", "0 pictures"), (2, "batch", "2 batches"), (2, "epoch", "2 epochs")],
)
def test_a_count_has_its_noun(count: int, noun: str, said: str) -> None:
    assert counted(count, noun) == said


def test_of_many_names_the_first_are_said_and_the_others_counted() -> None:
    assert some(list("abcde")) == "a, b, c, d, e"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"
