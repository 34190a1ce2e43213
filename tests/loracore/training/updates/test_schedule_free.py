from __future__ import annotations

import pytest
import torch

from loracore.training.processes import Processes
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.schedule_free import is_schedule_free
from loracore.training.updates.whole_updates import Updates
from tests.loracore.training.updates.every_optimizer import NAMES, built, parameters, step

FREE = [name for name in NAMES if "ScheduleFree" in name]


@pytest.mark.parametrize("name", NAMES)
def test_methods_tell_what_is_schedule_free(name: str) -> None:
    assert is_schedule_free(built(name, parameters())) == (name in FREE)


@pytest.mark.parametrize("name", FREE)
def test_weights_are_read_as_the_average_and_are_then_what_they_were(name: str) -> None:
    several = parameters()
    optimizer = built(name, several)
    for number in range(7):  # RAdam leaves the first ones out
        step(optimizer, number)
    before = [one.detach().clone() for one in several]
    updates = Updates(optimizer, Gradients(several, Processes(torch.device("cpu"), 0, 1), 0))
    with updates.weights_to_read():
        assert torch.is_grad_enabled()
        assert not torch.equal(several[2], before[2])
    assert all(torch.equal(a, b) for a, b in zip(several, before, strict=True))
    assert all(group["train_mode"] for group in optimizer.param_groups if "train_mode" in group)


@pytest.mark.parametrize("name", FREE)
def test_a_run_that_is_looked_at_is_the_same_run(name: str) -> None:
    watched, alone = parameters(), parameters()
    one, other = built(name, watched), built(name, alone)
    updates = Updates(one, Gradients(watched, Processes(torch.device("cpu"), 0, 1), 0))
    for number in range(3):
        step(one, number)
        step(other, number)
        with updates.weights_to_read():
            pass
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))


def test_others_are_read_as_they_are() -> None:
    several = parameters()
    before = [one.detach().clone() for one in several]
    updates = Updates(built("AdamW", several), Gradients(several, Processes(torch.device("cpu"), 0, 1), 0))
    with updates.weights_to_read():
        assert all(torch.equal(a, b) for a, b in zip(several, before, strict=True))
