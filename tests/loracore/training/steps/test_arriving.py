from __future__ import annotations

import pytest
import torch

from loracore.training.steps.arriving import arriving


def test_numbers_of_the_host_are_there_at_once() -> None:
    found = arriving(torch.tensor([1.0, 2.0]))
    assert found.arrived is None
    assert found.values() == [1.0, 2.0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_numbers_are_those_of_the_moment_when_they_were_asked_for() -> None:
    numbers = torch.tensor([1.0, 2.0], device="cuda")
    found = arriving(numbers)
    numbers += 1
    assert found.values() == [1.0, 2.0]
