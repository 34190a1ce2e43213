"""No step makes the host wait for the card, whatever is on."""

from __future__ import annotations

import pytest
import torch

from tests.host_waits import HostWaits, assert_nobody_waits
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


@pytest.mark.parametrize(
    "words",
    [
        ("--gradient_accumulation_steps", "2", "--loss_type", "huber"),
        ("--network_dropout", "0.1", "--scale_weight_norms", "0.5", "--mixed_precision", "bf16"),
        ("--mixed_precision", "fp16"),
        ("--max_grad_norm", "0", "--loss_type", "smooth_l1", "--huber_schedule", "exponential"),
    ],
)
def test_no_step_waits(train_toy: TrainToy, words: tuple[str, ...]) -> None:
    assert_nobody_waits(train_toy, *words)
