from __future__ import annotations

import pytest
import torch

from loracore import LoracoreError
from loracore.training.history import BAD_IN_A_ROW, LAG, History

GOOD, BAD = torch.tensor(0.0), torch.tensor(1.0)


def test_losses_are_read_late() -> None:
    history = History(window=10)
    for step in range(LAG):
        history.push(step, torch.tensor(1.0), GOOD)
    assert history.average is None
    history.settle()
    assert history.average == 1


def test_the_average_covers_the_last_epoch() -> None:
    history = History(window=2)
    for step, loss in enumerate((9.0, 1.0, 3.0)):
        history.push(step, torch.tensor(loss), GOOD)
    history.settle()
    assert history.average == 2
    assert history.losses == [9, 1, 3]


def test_bad_steps_are_counted_and_left_out_of_the_average() -> None:
    history = History(window=5)
    history.push(1, torch.tensor(2.0), GOOD)
    history.push(2, torch.tensor(float("nan")), BAD)
    history.settle()
    assert (history.average, history.skipped) == (2, 1)


def test_too_many_bad_steps_in_a_row_end_the_run() -> None:
    history = History(window=5)
    for step in range(BAD_IN_A_ROW):
        history.push(step, torch.tensor(float("nan")), BAD)
    with pytest.raises(LoracoreError, match="in a row"):
        history.settle()
