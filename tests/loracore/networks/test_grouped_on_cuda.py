"""Grouped layers on a card: its products take other paths than those of the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from loracore.networks.grouped import project
from tests.loracore.networks.test_grouped import (
    CASES,
    assert_close,
    attached,
    inputs_of,
    layers_of,
    network_of,
    outcome,
    plainly,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CARD = torch.device("cuda", 0)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_all_gradients_are_those_of_the_formula(name: str, prepared: bool) -> None:
    case = CASES[name]
    layers = [layer.to(CARD) for layer in layers_of(case)]
    network = network_of(case, layers)
    network.modules.to(CARD)
    inputs = inputs_of(case).detach().to(CARD).requires_grad_(case.inputs_train)
    expected = outcome(network, inputs, lambda given: plainly(network, layers, given, case.multiplier))
    with attached(network, [layers], prepared=prepared):
        found = outcome(network, inputs, lambda given: project(layers, given))
    assert_close(found, expected, 1e-10)


def rounded(name: str, device: torch.device) -> list[Tensor]:
    case = replace(CASES[name], shape=(4, 32, 6))
    layers = [layer.to(device) for layer in layers_of(case, torch.bfloat16)]
    network = network_of(case, layers, torch.float32)
    network.modules.to(device)
    inputs = inputs_of(case, torch.bfloat16).detach().to(device).requires_grad_()
    with attached(network, [layers], prepared=True):
        found = outcome(network, inputs, lambda given: project(layers, given))
    return [one.double().cpu() for one in found if one is not None]


@pytest.mark.parametrize("name", ["three", "one", "fused"])
def test_bfloat16_gives_what_the_cpu_gives_within_rounding(name: str) -> None:
    for one, other in zip(rounded(name, CARD), rounded(name, torch.device("cpu")), strict=True):
        assert (one - other).norm() < 0.05 * other.norm()
