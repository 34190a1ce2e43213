from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from loracore import ConfigError, TrainingOptions
from loracore.config.updates.schedule_choice import schedule_class
from loracore.config.updates.schedule_names import REFUSED_SCHEDULES, TORCH_SCHEDULES
from loracore.training.updates.schedules import ClassSchedule, Schedule, build_schedule
from tests.loracore.training.updates.every_optimizer import built, parameters

ARGUMENTS = {
    "CosineAnnealingLR": ("T_max=20",),
    "CosineAnnealingWarmRestarts": ("T_0=4", "T_mult=2"),
    "CyclicLR": ("base_lr=0.1", "max_lr=1.0", "step_size_up=3"),
    "ExponentialLR": ("gamma=0.9",),
    "MultiStepLR": ("milestones=[3,9]",),
    "OneCycleLR": ("max_lr=1.0", "total_steps=20"),
    "StepLR": ("step_size=4", "gamma=0.5"),
}


def sgd(rates: dict[str, float]) -> torch.optim.Optimizer:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate, "name": name} for name, rate in rates.items()]
    return torch.optim.SGD(groups, lr=1, momentum=0.9)


def of(steps: int = 20, **options: Any) -> Schedule | ClassSchedule:
    return build_schedule(sgd({"unet": 1.0, "te1": 0.5}), TrainingOptions(learning_rate=1.0, **options), steps)


def test_every_group_keeps_its_own_rate() -> None:
    schedule = of(2, lr_scheduler="cosine")
    schedule.step()
    assert schedule.rates() == pytest.approx({"unet": 0.5, "te1": 0.25})
    assert schedule.base_rates() == {"unet": 1.0, "te1": 0.5}


def test_a_class_of_torch_gives_the_fields_course(data: Path) -> None:
    curve = json.loads((data / "training.json").read_text(encoding="utf-8"))["lr_schedulers"]["curves"]
    curve = curve["custom_torch_StepLR"]
    options = {name: tuple(one) if isinstance(one, list) else one for name, one in curve["options"].items()}
    schedule, found = of(100, **options), []
    for _ in range(101):
        found.append(schedule.rates()["unet"])
        schedule.step()
    assert [found[step] for step in curve["step"]] == pytest.approx(curve["lr"], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", TORCH_SCHEDULES)
def test_a_class_goes_on_from_its_state_as_if_nothing_had_happened(name: str) -> None:
    def course() -> Schedule | ClassSchedule:
        return of(lr_scheduler_type=name, lr_scheduler_args=ARGUMENTS.get(name, ()))

    whole, begun, resumed, rates = course(), course(), course(), []
    for number in range(15):
        whole.step()
        rates += [whole.rates()] if number >= 7 else []
    for _ in range(7):
        begun.step()
    resumed.load(json.loads(json.dumps(begun.state())))
    for expected in rates:
        resumed.step()
        assert resumed.rates() == expected
    assert len({tuple(one.items()) for one in rates}) > 1 or name in {"ConstantLR", "LinearLR", "PolynomialLR"}


def test_a_named_course_goes_on_from_its_state() -> None:
    begun, resumed = of(lr_scheduler="cosine"), of(lr_scheduler="cosine")
    for _ in range(7):
        begun.step()
    resumed.load(begun.state())
    assert resumed.rates() == begun.rates()
    begun.step()
    resumed.step()
    assert resumed.rates() == begun.rates()


def test_schedule_free_optimizers_keep_their_rates() -> None:
    optimizer = built("AdamWScheduleFree", parameters(), lr_scheduler="cosine")
    schedule = build_schedule(optimizer, TrainingOptions(learning_rate=1.0, lr_scheduler="cosine"), 4)
    for _ in range(3):
        schedule.step()
    assert schedule.rates() == {"unet": 1.0, "te1": 1.0}


def test_every_course_of_torch_is_known() -> None:
    module = torch.optim.lr_scheduler
    there = {
        name
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, module.LRScheduler) and not name.startswith("_")
    }
    assert {*TORCH_SCHEDULES, *REFUSED_SCHEDULES} == there


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ReduceLROnPlateau", "known at times only"),
        ("torch.optim.lr_scheduler.LambdaLR", "needs a function"),
        ("StepLr", "did you mean 'StepLR'"),
        ("torch.optim.lr_scheduler.Stepp", "did you mean 'StepLR'"),
        ("nowhere_at_all.Course", "no package 'nowhere_at_all' is installed"),
    ],
)
def test_classes_that_cannot_be_a_course_are_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        schedule_class(name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr_scheduler_type": "StepLR", "lr_scheduler_args": ("step_sise=1",)}, "did you mean 'step_size'"),
        ({"lr_scheduler_type": "StepLR"}, "refuses its arguments"),
        ({"lr_scheduler_type": "OneCycleLR", "lr_scheduler_args": ("max_lr=1.", "total_steps=9")}, "ends after"),
        ({"lr_scheduler_type": "torch.optim.AdamW"}, "refuses its arguments|takes no argument"),
    ],
)
def test_arguments_of_classes_are_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        of(**options)
