from __future__ import annotations

import torch
from torch import nn

from loracore.memory.checkpointing import checkpoint_blocks


def gradient(*, checkpointed: bool) -> torch.Tensor:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 4))
    if checkpointed:
        checkpoint_blocks([block])
    torch.manual_seed(1)
    block(torch.ones(2, 4)).square().sum().backward()
    first = block[0].weight.grad
    assert isinstance(first, torch.Tensor)
    return first


def test_gradients_are_the_same_with_dropout_inside() -> None:
    assert torch.equal(gradient(checkpointed=False), gradient(checkpointed=True))


def test_activations_are_forgotten() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    calls = []
    block[0].register_forward_hook(lambda *_: calls.append(1))
    checkpoint_blocks([block])
    block(torch.ones(1, 4)).sum().backward()
    assert len(calls) == 2
