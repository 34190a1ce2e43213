from __future__ import annotations

import pytest
import torch
from torch import nn

from loracore import TrainingOptions
from loracore.networks.rates import ParameterGroup
from loracore.training.planning.optimizer_size import optimizer_size

GROUPS = (ParameterGroup("unet", 1e-3, (nn.Parameter(torch.empty(64, 100, device="meta")),)),)


def refuse(*_: object) -> None:
    raise TypeError("step() wants more than gradients")


def test_an_optimizer_that_takes_a_step_is_measured() -> None:
    found = optimizer_size(GROUPS, TrainingOptions(optimizer_type="SGD", optimizer_args=("momentum=0.9",)))
    assert (found.size, found.notes) == (64 * 100 * 4, ())


def test_one_that_takes_none_is_counted_by_rule_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.Adamax, "step", refuse)
    found = optimizer_size(GROUPS, TrainingOptions(optimizer_type="Adamax"))
    assert found.size == 64 * 100 * 8
    assert found.notes == ("Adamax took no step on the CPU: its state is counted as two float32 for each number",)
