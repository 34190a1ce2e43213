from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from loracore.speed.channels import convolves, lay_channels_last


def model() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 8, 1))
    return layers.requires_grad_(requires_grad=False)


def test_results_are_the_same_and_activations_follow_the_weights() -> None:
    plain, laid = model(), model()
    lay_channels_last(laid)
    found = []
    for one in (plain, laid):
        inputs = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = one(inputs)
        output.square().sum().backward()
        found.append((output, inputs.grad))
    assert found[1][0].is_contiguous(memory_format=torch.channels_last)
    # Sums run in another order: float32 has 7 digits.
    assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


def test_shapes_and_values_of_weights_stay() -> None:
    plain, laid = model(), model()
    lay_channels_last(laid)
    for one, other in zip(plain.parameters(), laid.parameters(), strict=True):
        assert torch.equal(one, other)
    assert next(laid.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_convolutions_are_seen_wherever_they_stand() -> None:
    assert convolves([nn.Linear(2, 2), nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1)))])
    assert not convolves([nn.Linear(2, 2)])
