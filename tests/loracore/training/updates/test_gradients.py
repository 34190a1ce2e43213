from __future__ import annotations

import pytest
import torch
from torch import nn

from loracore.training.processes import Processes
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.loss_scale import FIRST, GOOD_STEPS, LossScale

ALONE = Processes(torch.device("cpu"), 0, 1)


def parameters(*grads: float | None) -> list[nn.Parameter]:
    found = []
    for grad in grads:
        one = nn.Parameter(torch.zeros(1))
        one.grad = None if grad is None else torch.tensor([grad])
        found.append(one)
    return found


def test_gradients_are_clipped_to_one_norm() -> None:
    found = parameters(3.0, 4.0, None)
    norm = Gradients(found, ALONE, max_norm=1.0).reduce_and_clip()
    assert norm == 5
    assert [one.grad.item() if one.grad is not None else None for one in found] == [
        pytest.approx(0.6),
        pytest.approx(0.8),
        None,
    ]


def test_zero_means_no_clipping() -> None:
    found = parameters(3.0, 4.0)
    Gradients(found, ALONE, max_norm=0).reduce_and_clip()
    assert found[1].grad == 4


def test_a_non_finite_gradient_shows_in_the_norm() -> None:
    assert not Gradients(parameters(1.0, float("inf")), ALONE, 1.0).reduce_and_clip().isfinite()


def test_scaled_gradients_are_measured_unscaled() -> None:
    scale = LossScale(torch.device("cpu"))
    assert scale.scaled(torch.tensor(2.0)) == 2 * FIRST
    assert Gradients(parameters(3 * FIRST), ALONE, 0, scale).reduce_and_clip() == 3


def test_the_scale_halves_after_a_bad_step_and_doubles_after_many_good_ones() -> None:
    scale = LossScale(torch.device("cpu"))
    scale.update(torch.tensor(1.0))
    assert scale.scaled(torch.tensor(1.0)) == FIRST / 2
    for _ in range(GOOD_STEPS):
        scale.update(torch.tensor(0.0))
    assert scale.scaled(torch.tensor(1.0)) == FIRST


def test_a_loss_scale_goes_on_from_its_state() -> None:
    begun, resumed = LossScale(torch.device("cpu")), LossScale(torch.device("cpu"))
    for bad in (1.0, 0.0, 0.0):
        begun.update(torch.tensor(bad))
    resumed.load(begun.state())
    assert resumed.scaled(torch.tensor(1.0)) == begun.scaled(torch.tensor(1.0)) == FIRST / 2
    for scale in (begun, resumed):
        for _ in range(GOOD_STEPS - 2):
            scale.update(torch.tensor(0.0))
    assert resumed.scaled(torch.tensor(1.0)) == begun.scaled(torch.tensor(1.0)) == FIRST
