from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from loracore import ConfigError, TrainingOptions
from loracore.config.updates.courses import schedule_factor, share_of_steps
from loracore.config.updates.schedule_names import SCHEDULES

CURVES = json.loads((Path(__file__).parents[3] / "data" / "training.json").read_text(encoding="utf-8"))[
    "lr_schedulers"
]["curves"]
NAMED = [name for name, one in CURVES.items() if "lr" in one and {*one["options"]} <= {*TrainingOptions.__slots__}]
NAMED = [name for name in NAMED if "lr_scheduler_type" not in CURVES[name]["options"]]


def training(**options: Any) -> TrainingOptions:
    return TrainingOptions(**{"learning_rate": 1.0, **options})


@pytest.mark.parametrize("name", NAMED)
def test_courses_equal_the_fields(name: str) -> None:
    curve = CURVES[name]
    factor = schedule_factor(training(**curve["options"]), 100)
    assert [factor(step) for step in curve["step"]] == pytest.approx(curve["lr"], rel=1e-5, abs=1e-6)


def test_all_the_fields_courses_are_compared() -> None:
    assert len(NAMED) == 20
    assert {CURVES[name]["options"]["lr_scheduler"] for name in NAMED} == {
        *("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"),
        *("inverse_sqrt", "cosine_with_min_lr", "warmup_stable_decay", "piecewise_constant"),
    }
    assert {option for name in NAMED for option in CURVES[name]["options"]} >= {
        *("lr_scheduler_num_cycles", "lr_scheduler_power", "lr_scheduler_min_lr_ratio"),
        *("lr_scheduler_args", "lr_warmup_steps", "lr_decay_steps"),
    }


def test_a_share_of_the_run_is_the_same_share_in_several_processes() -> None:
    curve = CURVES["cosine_warmup_ratio_0.1_two_processes"]
    options = {name: one for name, one in curve["options"].items() if name != "nproc"}
    factor = schedule_factor(training(**options), 100)
    ticks = {tick: rate for tick, rate in zip(curve["step"], curve["lr"], strict=True) if tick % 2 == 0}  # 2 a step
    assert len(ticks) > 10
    assert [factor(tick // 2) for tick in ticks] == pytest.approx([*ticks.values()], rel=1e-5, abs=1e-6)


def test_whole_steps_are_optimizer_steps_however_many_processes_there_are() -> None:
    options = CURVES["linear_warmup_10_two_processes"]["options"]
    factor = schedule_factor(training(**{name: one for name, one in options.items() if name != "nproc"}), 100)
    assert [factor(step) for step in (5, 10, 55)] == pytest.approx([0.5, 1.0, 0.5])


@pytest.mark.parametrize(("given", "steps"), [(0.1, 20), (1.0, 200), (1, 1), (10, 10), (10.0, 10), (0, 0)])
def test_floats_up_to_one_are_shares(given: float, steps: int) -> None:
    assert share_of_steps(given, 200) == steps


@pytest.mark.parametrize(("kind", "middle"), [("linear", 0.5), ("cosine", 0.5), ("1-sqrt", 1 - 0.5**0.5)])
def test_rise_and_fall_of_warmup_stable_decay_have_three_shapes(kind: str, middle: float) -> None:
    options = training(
        lr_scheduler="warmup_stable_decay",
        lr_warmup_steps=10,
        lr_decay_steps=10,
        lr_scheduler_args=(f"warmup_type={kind}", f"decay_type={kind}"),
    )
    factor = schedule_factor(options, 100)
    assert [factor(0), factor(5), factor(10), factor(89)] == pytest.approx([0, middle, 1, 1])
    assert [factor(90), factor(95), factor(100)] == pytest.approx([1, middle, 0])


def test_the_time_scale_of_inverse_sqrt_may_be_given() -> None:
    options = training(lr_scheduler="inverse_sqrt", lr_scheduler_timescale=25, lr_warmup_steps=9)
    factor = schedule_factor(options, 1000)
    assert [factor(9), factor(84), factor(384)] == pytest.approx([1, 0.5, 0.25])  # 1/sqrt((step + 25 - 9) / 25)


def test_a_smallest_rate_may_be_a_rate() -> None:
    options = training(learning_rate=1e-3, lr_scheduler="cosine_with_min_lr", lr_scheduler_args=("min_lr=1e-4",))
    assert schedule_factor(options, 10)(10) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr_scheduler": "cosine_with_min_lr"}, "needs a smallest learning rate"),
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_args": ("min_lr=2",)}, "not between 0 and"),
        ({"lr_scheduler": "polynomial", "lr_scheduler_args": ("lr_end=1",)}, "ends at 1, which is not below"),
        ({"lr_scheduler": "polynomial", "lr_scheduler_args": ("lr_ende=1",)}, "did you mean 'lr_end'"),
        ({"lr_scheduler": "polynomial", "lr_scheduler_args": ("power=2",)}, "give --lr_scheduler_power"),
        ({"lr_scheduler": "cosine", "lr_scheduler_args": ("num_cycles=two",)}, "cannot take num_cycles=two"),
        ({"lr_scheduler": "piecewise_constant"}, "needs step_rules"),
        ({"lr_scheduler": "piecewise_constant", "lr_scheduler_args": ("step_rules=1:a,2",)}, "are no rules"),
        (
            {"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": 8, "lr_warmup_steps": 8},
            "longer than the run of 10",
        ),
        (
            {"lr_scheduler": "warmup_stable_decay", "lr_scheduler_args": ("decay_type=sine",)},
            "knows no decay_type 'sine'",
        ),
    ],
)
def test_what_a_course_cannot_be_is_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        schedule_factor(training(**options), 10)


def test_every_course_that_can_be_chosen_is_known_and_computed() -> None:
    hint = get_type_hints(TrainingOptions, include_extras=True)["lr_scheduler"]
    names = get_args(get_args(hint)[0])
    assert names == tuple(SCHEDULES)
    needed = {"cosine_with_min_lr": ("min_lr=0",), "piecewise_constant": ("step_rules=1:3,0.5",)}
    for name in names:
        chosen = training(lr_scheduler=name, lr_scheduler_args=needed.get(name, ()))
        assert schedule_factor(chosen, 10)(0) == 1
