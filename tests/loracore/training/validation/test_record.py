from __future__ import annotations

import json
import math

import pytest

from loracore.config.options import ValidationOptions
from loracore.training.validation.record import Record, Verdict


def judged(record: Record, losses: list[float], first: int = 1) -> list[Verdict]:
    return [record.judge(step, loss) for step, loss in enumerate(losses, first)]


def test_the_best_is_the_smallest_so_far() -> None:
    verdicts = judged(Record(ValidationOptions()), [3.0, math.nan, 2.0, 2.0, math.inf, 1.0])
    assert [one.best for one in verdicts] == [True, False, True, False, False, True]
    assert not any(one.kept or one.dropped or one.stop for one in verdicts)


def test_the_n_best_are_kept_and_the_others_go() -> None:
    record = Record(ValidationOptions(keep_best=2))
    verdicts = judged(record, [3.0, 2.0, 2.5, 4.0, 2.0, math.nan, 1.0])
    assert [one.kept for one in verdicts] == [True, True, True, False, True, False, True]
    assert [one.dropped for one in verdicts] == [(), (), (1,), (), (3,), (), (5,)]
    assert record.kept == (7, 2)


def test_the_run_stops_when_nothing_gets_better() -> None:
    record = Record(ValidationOptions(early_stopping_patience=2))
    stops = [one.stop for one in judged(record, [3.0, 3.5, 2.0, 2.0, 2.5])]
    assert stops == [None] * 4 + ["early stopping: no better validation loss in 2 validations, up to step 5"]


def test_a_little_better_is_not_better_enough() -> None:
    losses = [3.0, 2.9, 2.8, 2.4]
    for threshold, when in ((0.0, None), (0.15, None), (0.5, 3)):
        options = ValidationOptions(early_stopping_patience=2, early_stopping_threshold=threshold)
        stops = [step for step, one in enumerate(judged(Record(options), losses), 1) if one.stop]
        assert stops == ([] if when is None else [when])


@pytest.mark.parametrize("taken", range(7))
def test_a_resumed_run_judges_as_one_that_was_not_stopped(taken: int) -> None:
    options = ValidationOptions(keep_best=2, early_stopping_patience=2, early_stopping_threshold=0.1)
    losses = [3.0, math.nan, 2.95, 2.0, 2.5, 1.95]
    whole, first, second = (Record(options) for _ in range(3))
    wanted = judged(whole, losses)
    judged(first, losses[:taken])
    second.load(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert judged(second, losses[taken:], taken + 1) == wanted[taken:]
    assert second.state() == whole.state()


def test_files_of_a_life_that_was_given_up_are_not_forgotten_by_the_next() -> None:
    first, second = Record(ValidationOptions(keep_best=1)), Record(ValidationOptions(keep_best=1))
    first.abandon([7])
    second.load(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert second.judge(1, 2.0).dropped == (7,)
