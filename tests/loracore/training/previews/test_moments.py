from __future__ import annotations

import time

import pytest

from loracore.config.options import PreviewOptions
from loracore.training.previews.moments import Moment, due_moment, file_name
from loracore.training.steps.length import Length

STAMP = int(time.mktime((2026, 1, 31, 23, 59, 58, 0, 0, -1)))


def due(options: PreviewOptions, length: Length) -> list[tuple[str, int, int]]:
    found = (due_moment(options, length, step) for step in range(1, length.steps + 1))
    return [(moment.scope, moment.step, moment.epoch) for moment in found if moment is not None]


@pytest.fixture
def length() -> Length:
    return Length(steps=8, epochs=3, steps_per_epoch=3, batches_per_epoch=3)


def test_every_n_steps(length: Length) -> None:
    expected = [("step", 3, 1), ("step", 6, 2)]
    assert due(PreviewOptions(sample_every_n_steps=3), length) == expected


def test_every_n_epochs_wins_and_counts_a_short_last_epoch(length: Length) -> None:
    both = PreviewOptions(sample_every_n_steps=1, sample_every_n_epochs=1)
    assert due(both, length) == [("epoch", 3, 1), ("epoch", 6, 2), ("epoch", 8, 3)]
    assert due(PreviewOptions(sample_every_n_epochs=2), length) == [("epoch", 6, 2)]


def test_zero_is_never(length: Length) -> None:
    assert due(PreviewOptions(sample_every_n_steps=0, sample_every_n_epochs=0), length) == []


@pytest.mark.parametrize(
    ("name", "moment", "seed", "expected"),
    [
        ("my", Moment("step", 250, 2), 42, "my_000250_00_20260131235958_42.png"),
        ("my", Moment("epoch", 250, 2), None, "my_e000002_00_20260131235958.png"),
        (None, Moment("first", 0, 0), 0, "e000000_00_20260131235958_0.png"),
    ],
)
def test_files_are_called_as_the_field_calls_them(name: str | None, moment: Moment, seed: int, expected: str) -> None:
    assert file_name(name, moment, 0, STAMP, seed) == expected
