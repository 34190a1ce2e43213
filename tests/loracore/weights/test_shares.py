"""What low-rank factors keep is told for all modules together and for the worst."""

from __future__ import annotations

from loracore.weights.shares import Shares


def test_modules_count_by_the_size_of_their_change() -> None:
    shares = Shares()
    shares.note("large", 9, 0.9)
    shares.note("small", 1, 0.5)
    assert shares.kept() == 1 - 1.4 / 10
    assert list(shares.lines()) == ["86.00% of the change is kept (squared norm)", "  small: 50.00%", "  large: 90.00%"]


def test_no_change_is_kept_whole() -> None:
    shares = Shares()
    shares.note("equal", 0, 0)
    assert list(shares.lines()) == ["100.00% of the change is kept (squared norm)"]


def test_only_the_worst_are_named() -> None:
    shares = Shares()
    for number in range(9):
        shares.note(str(number), 1, number / 10)
    assert [line.strip() for line in shares.lines()][1:] == ["8: 20.00%", "7: 30.00%", "6: 40.00%"]
