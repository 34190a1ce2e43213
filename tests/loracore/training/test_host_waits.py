"""No step makes the host wait for the card, whatever is on."""

from __future__ import annotations

import pytest
import torch
from torch.optim import SGD

from loracore.training.steps.history import History, TakenStep
from loracore.training.updates.optimizers import adapted_rates
from tests.host_waits import HostReads, HostWaits, assert_nobody_waits
from tests.toy_runs import TrainToy


def test_the_watch_sees_what_waits() -> None:
    numbers = torch.tensor([0.0, 1.0])
    for look in (
        numbers[0].item,
        lambda: bool(numbers.any()),
        numbers.nonzero,
        lambda: numbers[numbers > 0],
        lambda: torch.equal(numbers, numbers),
    ):
        with HostWaits() as waits:
            look()
        assert len(waits.found) >= 1
    with HostWaits() as waits:
        torch.where(numbers > 0, numbers, 0).sum()
    assert waits.found == []


def test_the_watch_sees_what_is_read() -> None:
    numbers = torch.tensor([0.0, 1.0])
    for look in (numbers.cpu, numbers.numpy, lambda: float(numbers[0])):
        with HostReads() as reads:
            look()
        assert len(reads.found) >= 1
    with HostReads() as reads:
        numbers.to(numbers.device, torch.float64).sum()
    assert reads.found == []


def test_rates_that_an_optimizer_finds_are_read_as_late_as_losses() -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(2))], lr=2.0)
    optimizer.param_groups[0] |= {"d": torch.tensor(0.25), "name": "unet"}
    history, zero = History(10, lag=1), torch.zeros(())
    with HostWaits() as waits, HostReads() as reads:
        step = TakenStep(1, 1, (), zero, zero, zero, adapted_rates=adapted_rates(optimizer))
        history.push(step)
    assert [*waits.found, *reads.found] == []
    (record,) = history.settle()
    assert list(record.adapted_rates.values()) == [0.5]


@pytest.mark.parametrize(
    "words",
    [
        ("--gradient_accumulation_steps", "2", "--loss_type", "huber"),
        ("--network_dropout", "0.1", "--scale_weight_norms", "0.5", "--mixed_precision", "bf16"),
        ("--mixed_precision", "fp16"),
        ("--use_ema", "--scale_weight_norms", "0.5"),
        ("--max_grad_norm", "0", "--loss_type", "smooth_l1", "--huber_schedule", "exponential"),
    ],
)
def test_no_step_waits(train_toy: TrainToy, words: tuple[str, ...]) -> None:
    assert_nobody_waits(train_toy, *words)
