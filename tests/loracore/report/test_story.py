from __future__ import annotations

import math

from loracore.report.reading import read_events
from loracore.report.story import tell_story
from tests.loracore.report.told_runs import event, started, step
from tests.toy_runs import TrainToy


def test_steps_that_a_resumed_run_took_again_count_once() -> None:
    first = [
        started(),
        *(step(number, loss=1.0) for number in range(1, 9)),
        event("saved", 8, path="a", what="network"),
    ]
    taken = (step(number, loss=2.0) for number in range(6, 11))
    again = [started(5, resumed=True), *taken, event("finished", 10, reason="done")]
    story = tell_story([*first, *again])
    assert list(story.steps) == list(range(1, 11))
    assert list(story.losses) == [1.0] * 5 + [2.0] * 5
    assert story.of("saved") == []
    assert len(story.starts) == 2


def test_a_run_that_starts_anew_forgets_the_one_before() -> None:
    story = tell_story([started(), step(1), event("note", 0, text="old"), started(), step(1, loss=3.0)])
    assert (list(story.losses), story.kept, len(story.starts)) == ([3.0], [], 1)


def test_a_run_that_leaves_its_first_steps_out_is_one_of_its_own(train_toy: TrainToy) -> None:
    train_toy()
    folder = train_toy("--initial_step", "2", "--overwrite", "--learning_rate", "0.5").parent
    story = tell_story(read_events(folder / "toy-log" / "events.jsonl"))
    assert list(story.steps) == [3, 4, 5, 6]
    assert len(story.starts) == 1
    assert set(story.rates["unet"]) == {0.5}


def test_a_group_that_appears_late_has_no_rate_before() -> None:
    late = {**step(2), "lr": {"unet": 1.0, "te1": 2.0}}
    story = tell_story([started(), {**step(1), "lr": {"unet": 1.0}}, late, {**step(3), "lr": {"te1": 4.0}}])
    assert math.isnan(story.rates["te1"][0])
    assert list(story.rates["te1"])[1:] == [2.0, 4.0]
    assert math.isnan(story.rates["unet"][2])


def test_a_real_run_that_is_resumed_tells_every_step_once(train_toy: TrainToy) -> None:
    folder = train_toy("--save_every_n_steps", "4", "--save_state").parent
    train_toy("--resume", str(folder / "toy-step00000004-state"))
    events = list(read_events(folder / "toy-log" / "events.jsonl"))
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3, 4, 5, 6, 5, 6]
    story = tell_story(events)
    assert list(story.steps) == [1, 2, 3, 4, 5, 6]
    assert [start["step"] for start in story.starts] == [0, 4]
