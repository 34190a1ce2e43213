from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from loracore import ConfigError, TrainingOptions
from loracore.networks.rates import ParameterGroup
from loracore.training.updates.adafactor import RelativeSteps
from loracore.training.updates.optimizers import build_optimizer, describe

FIXED = ("relative_step=False", "scale_parameter=False")


def options(*arguments: str, **others: object) -> TrainingOptions:
    return TrainingOptions(optimizer_type="Adafactor", optimizer_args=arguments, **others)  # type: ignore[arg-type]


def built(*arguments: str) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    found = nn.Parameter(torch.ones(4, 4))
    found.grad = torch.ones(4, 4)
    return found, build_optimizer([ParameterGroup("unet", 0.5, (found,))], options(*arguments))


def test_relative_steps_take_no_learning_rate() -> None:
    found, optimizer = built()
    assert optimizer.param_groups[0]["lr"] is None
    optimizer.step()
    assert torch.allclose(found, torch.tensor(1 - 1e-2))  # ρ is 0.01 in the first step, relative to a size of 1


def test_given_rates_are_used() -> None:
    found, optimizer = built(*FIXED)
    optimizer.step()
    assert torch.allclose(found, torch.tensor(0.5))


def test_warm_up_of_its_own_means_relative_steps() -> None:
    assert built("warmup_init=True")[1].param_groups[0]["relative_step"] is True


@pytest.mark.parametrize("warmup", ["True", "False"])
def test_rates_are_those_that_the_class_uses(warmup: str) -> None:
    found, optimizer = built("scale_parameter=False", f"warmup_init={warmup}")
    steps, rates = RelativeSteps(optimizer), []
    for number in range(12_000):
        if number in {0, 1, 10_500, 11_999}:
            used = optimizer._get_lr(optimizer.param_groups[0], {"step": number + 1})  # type: ignore[attr-defined]
            assert math.isclose(steps.rates()["unet"], used)
            rates.append(used)
        steps.step()
    assert len(set(rates)) >= 3
    assert found.grad is not None


def test_arguments_are_checked_against_the_class() -> None:
    with pytest.raises(ConfigError, match="did you mean 'relative_step'"):
        built("relativ_step=False")


def test_metadata_name_the_class_of_the_field() -> None:
    _, optimizer = built()
    assert describe(optimizer, {}) == "transformers.optimization.Adafactor"
