from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from loracore import ConfigError, Event, TrainingOptions, hookimpl
from loracore.config.updates.optimizer_arguments import parse_arguments
from loracore.networks.rates import ParameterGroup
from loracore.training.run import Run
from loracore.training.telling.scalars import Scalars, scalars
from loracore.training.updates.classes import check_arguments
from loracore.training.updates.optimizers import adapted_rates, build_optimizer, chosen_optimizer, describe
from tests.toy_runs import TrainToy


def parameter() -> nn.Parameter:
    found = nn.Parameter(torch.ones(64, 64))
    found.grad = torch.ones(64, 64)
    return found


def group(found: nn.Parameter) -> list[ParameterGroup]:
    return [ParameterGroup("unet", 0.1, (found,))]


def test_arguments_are_python_literals_or_words() -> None:
    found = parse_arguments(["betas=0.9,0.99", "eps=1e-6", "amsgrad=true", "foo=bar", "x=a=b"], "optimizer_args")
    assert found == {"betas": (0.9, 0.99), "eps": 1e-6, "amsgrad": True, "foo": "bar", "x": "a=b"}


def test_unknown_arguments_suggest_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'weight_decay'"):
        build_optimizer(group(parameter()), TrainingOptions(optimizer_args=("weight_decai=0.1",)))


def test_metadata_names_class_and_arguments() -> None:
    optimizer = build_optimizer(group(parameter()), TrainingOptions())
    assert describe(optimizer, {"weight_decay": 0.1}) == "torch.optim.adamw.AdamW(weight_decay=0.1)"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer_type": "Prodigy", "optimizer_args": ("d_cof=2",)}, "did you mean 'd_coef'"),
        ({"optimizer_args": ("lr=1",)}, "AdamW takes no argument 'lr'"),
        ({"optimizer_args": ("betas=2,2",)}, "AdamW refuses its arguments"),
        ({"optimizer_type": "torch.optim.AdamV"}, "torch.optim has no class 'AdamV' *.*did you mean"),
        ({"optimizer_type": "torch.nn.Linear"}, "refuses its arguments|is no optimizer"),
        ({"optimizer_type": "pytorch_optimizer.SAM"}, "refuses its arguments|loss again|is no optimizer"),
        ({"optimizer_type": "SGDNesterov", "optimizer_args": ("nesterov=False",)}, "contradicts SGDNesterov"),
    ],
)
def test_what_a_class_does_not_take_is_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_optimizer(group(parameter()), TrainingOptions(**options))


def test_a_class_that_takes_anything_is_given_anything() -> None:
    class Anything(torch.optim.SGD):
        def __init__(self, params: Any, lr: float, **others: Any) -> None:  # noqa: ARG002  # as some do
            super().__init__(params, lr)

    check_arguments(Anything, {"whatever": 1}, {"params", "lr"}, "optimizer_args")
    with pytest.raises(ConfigError, match="takes no argument 'lr'"):
        check_arguments(Anything, {"lr": 1}, {"params", "lr"}, "optimizer_args")


@pytest.mark.parametrize(("arguments", "fused"), [((), True), (("foreach=True",), False), (("fused=False",), False)])
def test_adamw_is_fused_unless_asked_otherwise(arguments: tuple[str, ...], fused: bool) -> None:
    assert bool(chosen_optimizer(TrainingOptions(optimizer_args=arguments))[1].get("fused")) is fused


def test_adapted_rates_are_d_times_the_rate() -> None:
    options = TrainingOptions(optimizer_type="Prodigy", learning_rate=1.0, optimizer_args=("d0=0.5",))
    optimizer = build_optimizer(group(parameter()), options)
    assert adapted_rates(optimizer) == {"unet": pytest.approx(0.05)}
    assert adapted_rates(build_optimizer(group(parameter()), TrainingOptions())) == {}


@pytest.mark.parametrize(("items", "words"), [(["a"], "'a' is not key=value"), (["a=1", "a=2"], "'a' is given twice")])
def test_items_that_say_nothing_or_too_much_are_named(items: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_arguments(items, "optimizer_args")


class Sizes:
    """Notes what a run tells of the sizes of steps that its optimizer finds, and what the optimizer says itself."""

    def __init__(self) -> None:
        self.own: list[float] = []
        self.told: list[Event] = []
        self.shown: list[Scalars | None] = []

    @hookimpl
    def step_done(self, run: Run) -> None:
        self.own.append(run.moving.optimizer.param_groups[0]["d"])

    @hookimpl
    def happened(self, run: Run, event: Event) -> None:
        if event.kind == "step":
            self.told.append(event)
            self.shown.append(scalars(event, run.config))


def test_a_run_tells_the_size_of_steps_that_its_optimizer_finds(train_toy: TrainToy) -> None:
    sizes = Sizes()
    words = ("--optimizer_type", "Prodigy", "--learning_rate", "1", "--lr_scheduler", "cosine")
    final = train_toy(*words, "--optimizer_args", "d0=0.01", plugin=sizes)
    expected = [{"unet": d * event.values["lr"]["unet"]} for d, event in zip(sizes.own, sizes.told, strict=True)]
    assert [event.values["d_lr"] for event in sizes.told] == expected
    assert len({*sizes.own}) > 1
    lines = map(json.loads, (final.with_name("toy-log") / "events.jsonl").read_text("utf-8").splitlines())
    assert [line["d_lr"] for line in lines if line["kind"] == "step"] == expected
    assert [shown and shown.values["lr/d*lr/unet"] for shown in sizes.shown] == [one["unet"] for one in expected]
