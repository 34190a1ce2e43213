from __future__ import annotations

import numpy as np

from loracore import TrainingOptions
from loracore.data.sampler import EpochOrder
from loracore.training.steps.length import run_length, windows

BATCHES = EpochOrder(np.arange(5), np.zeros(5, dtype=np.int64), np.arange(6))


def test_epochs_win_over_steps() -> None:
    length = run_length(5, TrainingOptions(max_train_epochs=3, gradient_accumulation_steps=2))
    assert (length.steps_per_epoch, length.steps, length.epochs) == (3, 9, 3)


def test_steps_decide_otherwise() -> None:
    length = run_length(5, TrainingOptions(max_train_steps=7))
    assert (length.steps, length.epochs) == (7, 2)
    assert [length.epoch_of(step) for step in (1, 5, 6, 7)] == [1, 1, 2, 2]


def test_the_last_window_of_an_epoch_may_be_shorter() -> None:
    length = run_length(5, TrainingOptions(max_train_epochs=1, gradient_accumulation_steps=2))
    found = list(windows(0, BATCHES, 2, length))
    assert [(window.step, window.samples, window.ends_epoch) for window in found] == [
        (1, 2, False),
        (2, 2, False),
        (3, 1, True),
    ]


def test_the_run_stops_inside_an_epoch() -> None:
    length = run_length(5, TrainingOptions(max_train_steps=7))
    found = list(windows(1, BATCHES, 1, length))
    assert [(window.step, window.ends_epoch) for window in found] == [(6, False), (7, True)]
