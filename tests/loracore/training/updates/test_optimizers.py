from __future__ import annotations

import pytest
import torch
from torch import nn

from loracore import ConfigError, TrainingOptions
from loracore.config.optimizer_arguments import parse_arguments
from loracore.networks.rates import ParameterGroup
from loracore.training.updates.optimizers import build_optimizer, describe, step_unless_bad


def parameter() -> nn.Parameter:
    found = nn.Parameter(torch.ones(64, 64))
    found.grad = torch.ones(64, 64)
    return found


def group(found: nn.Parameter) -> list[ParameterGroup]:
    return [ParameterGroup("unet", 0.1, (found,))]


@pytest.mark.parametrize("kind", ["AdamW", "AdamW8bit"])
def test_a_bad_step_changes_nothing(kind: str) -> None:
    found = parameter()
    optimizer = build_optimizer(group(found), TrainingOptions(optimizer_type=kind))  # type: ignore[arg-type]  # a str
    step_unless_bad(optimizer, torch.tensor(1.0))
    assert torch.equal(found, torch.ones(64, 64))
    step_unless_bad(optimizer, torch.tensor(0.0))
    assert (found < 1).all()


def test_bad_steps_leave_the_moments_alone() -> None:
    one, other = parameter(), parameter()
    disturbed, plain = (build_optimizer(group(found), TrainingOptions()) for found in (one, other))
    step_unless_bad(disturbed, torch.tensor(1.0))
    for optimizer in (disturbed, plain):
        step_unless_bad(optimizer, torch.tensor(0.0))
    assert torch.equal(one, other)


def test_arguments_are_python_literals_or_words() -> None:
    found = parse_arguments(["betas=0.9,0.99", "eps=1e-6", "amsgrad=true", "foo=bar", "x=a=b"], "optimizer_args")
    assert found == {"betas": (0.9, 0.99), "eps": 1e-6, "amsgrad": True, "foo": "bar", "x": "a=b"}


def test_unknown_arguments_suggest_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'weight_decay'"):
        build_optimizer(group(parameter()), TrainingOptions(optimizer_args=("weight_decai=0.1",)))


def test_metadata_names_class_and_arguments() -> None:
    optimizer = build_optimizer(group(parameter()), TrainingOptions())
    assert describe(optimizer, {"weight_decay": 0.1}) == "torch.optim.adamw.AdamW(weight_decay=0.1)"
