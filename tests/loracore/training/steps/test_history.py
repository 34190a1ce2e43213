from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from loracore.networks.network import NormLimits
from loracore.training.steps.history import LAG, History, StepRecord, TakenStep

NAN = math.nan


def taken(
    step: int, loss: float = 1.0, *, bad: bool = False, samples: Sequence[float] | None = None, grad_norm: float = 0.5
) -> TakenStep:
    return TakenStep(
        step=step,
        epoch=1,
        ids=("a.png", "b.png"),
        loss=torch.tensor(loss),
        grad_norm=torch.tensor(grad_norm),
        bad=torch.tensor(float(bad)),
        sample_losses=None if samples is None else torch.tensor(samples),
        rates={"unet": 1e-4},
    )


def read(history: History, *steps: TakenStep) -> list[StepRecord]:
    return [record for step in steps for record in history.push(step)] + history.settle()


def test_steps_are_read_late_and_in_their_order() -> None:
    history = History(window=10)
    assert [history.push(taken(step)) for step in range(1, LAG + 1)] == [[]] * LAG
    assert [record.step for record in history.push(taken(LAG + 1))] == [1]
    assert history.average == 1
    assert [record.step for record in history.settle()] == [2, 3, 4, 5]
    assert history.settle() == []


def test_the_average_covers_the_last_epoch() -> None:
    history = History(window=2)
    records = read(history, *(taken(step, loss) for step, loss in enumerate((9.0, 1.0, 3.0), start=1)))
    assert [record.average for record in records] == [9, 5, 2]


def test_the_average_is_exact_and_the_same_behind_a_resume() -> None:
    losses = [10.0 ** (step % 9 - 6) / 3 for step in range(40)]
    history, resumed = History(window=7), History(window=7)
    records = read(history, *(taken(step, loss) for step, loss in enumerate(losses, start=1)))
    kept = torch.tensor(losses[-7:]).tolist()
    assert records[-1].average == pytest.approx(math.fsum(kept) / 7, rel=1e-15)
    resumed.load(json.loads(json.dumps(history.state())))
    assert resumed.average == history.average
    ahead, behind = (read(one, taken(41, 0.1))[0].average for one in (history, resumed))
    assert ahead == behind


def test_the_average_is_the_references_while_no_step_is_bad(data: Path) -> None:
    rows = json.loads((data / "training.json").read_text("utf-8"))["loss_recorder"]["normal"]
    history = History(window=3)  # three steps an epoch
    records = read(history, *(taken(step, loss) for step, (_, _, loss, _) in enumerate(rows, start=1)))
    assert [record.average for record in records] == pytest.approx([average for *_, average in rows])


def test_bad_steps_are_counted_and_left_out_of_the_average() -> None:
    history = History(window=5)
    records = read(history, taken(1, 2.0), taken(2, NAN, bad=True), taken(3, 4.0))
    assert (history.average, history.skipped, history.in_a_row) == (3, 1, 0)
    assert [record.skipped for record in records] == [False, True, False]


@pytest.mark.parametrize(
    ("losses", "guilty"),
    [((1.0, math.inf), ["b.png"]), ((NAN, NAN), ["a.png", "b.png"]), ((1.0, 1.0), ["a.png", "b.png"])],
)
def test_a_bad_step_names_the_samples_whose_loss_tells(losses: Sequence[float], guilty: list[str]) -> None:
    history = History(window=5)
    (record,) = read(history, taken(1, sum(losses), bad=True, samples=losses, grad_norm=NAN))
    assert list(record.bad_ids) == guilty
    assert history.last_bad_ids == record.bad_ids


def test_samples_of_other_processes_are_named() -> None:
    def gathered(names: Sequence[str]) -> Sequence[str]:
        return [*names, "elsewhere.png"] if "b.png" not in names else names

    history = History(window=5, gathered=gathered)
    good, bad = read(history, taken(1), taken(2, NAN, bad=True, samples=(1.0, 1.0)))
    assert (good.bad_ids, bad.bad_ids) == ((), ("elsewhere.png",))


def test_who_settles_alone_asks_nobody() -> None:
    def gathered(names: Sequence[str]) -> Sequence[str]:
        raise AssertionError(names)  # the others are elsewhere: it would wait for them

    history = History(window=5, gathered=gathered)
    history.push(taken(1, NAN, bad=True))
    (record,) = history.settle(alone=True)
    assert record.bad_ids == ("a.png", "b.png")


def test_a_record_says_what_a_step_was() -> None:
    norms = NormLimits(torch.tensor(3), torch.tensor(0.5), torch.tensor(1.0))
    step = TakenStep(
        step=1,
        epoch=2,
        ids=(),
        loss=torch.tensor(0.25),
        grad_norm=torch.tensor(2.0),
        bad=torch.tensor(0.0),
        rates={"te": 1.0, "unet": 2.0},
        adapted_rates={"te": torch.tensor(0.125), "unet": 0.5},
        norms=norms,
    )
    (record,) = read(History(window=1), step)
    assert record.values() == {
        "epoch": 2,
        "loss": 0.25,
        "average": 0.25,
        "grad_norm": 2.0,
        "skipped": False,
        "lr": {"te": 1.0, "unet": 2.0},
        "d_lr": {"te": 0.125, "unet": 0.5},
        "keys_scaled": 3,
        "average_key_norm": 0.5,
        "max_key_norm": 1.0,
    }


def test_what_json_cannot_hold_is_left_open() -> None:
    (record,) = read(History(window=1), taken(1, NAN, bad=True, grad_norm=math.inf))
    values = json.loads(json.dumps(record.values(), allow_nan=False))
    assert (values["loss"], values["grad_norm"], values["average"]) == (None, None, None)
    assert "d_lr" not in values
    assert "keys_scaled" not in values


def test_a_history_goes_on_where_another_stopped() -> None:
    whole, first, second = History(window=3), History(window=3), History(window=3)
    steps = [taken(1, 4.0), taken(2, 2.0), taken(3, NAN, bad=True), taken(4, NAN, bad=True), taken(5, 1.0)]
    expected = read(whole, *steps)[4:]
    read(first, *steps[:4])
    second.load(json.loads(json.dumps(first.state())))
    assert (second.in_a_row, second.skipped) == (2, 2)
    assert read(second, *steps[4:]) == expected
    assert second.state() == whole.state()


def test_skipped_steps_of_this_life_are_counted_alone() -> None:
    before, after = History(window=10), History(window=10)
    read(before, taken(1, 0.5), taken(2, NAN, bad=True))
    after.load(before.state())
    assert (after.skipped, after.skipped_here, after.nothing_applied) == (1, 0, False)
    read(after, taken(3, NAN, bad=True))
    assert (after.skipped, after.skipped_here, after.nothing_applied) == (2, 1, True)
    read(after, taken(4, 1.0))
    assert not after.nothing_applied
