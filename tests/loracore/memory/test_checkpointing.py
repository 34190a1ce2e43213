from __future__ import annotations

import weakref
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from loracore.memory.checkpointing import checkpoint_blocks
from tests.loracore.memory.adapted import adapt, equal, gradients, models_of
from tests.loracore.memory.stack import Stack

HOST = pytest.mark.parametrize("inputs_on_host", [False, True])


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


def stack_gradients(*, checkpointed: bool, inputs_on_host: bool = False) -> list[Tensor]:
    stack = Stack(4)
    models_of(stack, list(stack.blocks))
    if checkpointed:
        checkpoint_blocks(stack.blocks, inputs_on_host=inputs_on_host)
    return gradients(adapt(list(stack.blocks)), stack.answer)


@HOST
def test_shared_named_and_nested_inputs_give_bitwise_the_same_gradients(inputs_on_host: bool) -> None:
    found = stack_gradients(checkpointed=True, inputs_on_host=inputs_on_host)
    assert equal(found, stack_gradients(checkpointed=False))


class Doubling(nn.Module):
    """A block that tells when the tensors it was given are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.given: list[weakref.ref[Tensor]] = []

    def forward(self, hidden: Tensor, *, told: Tensor, nested: Mapping[str, Tensor]) -> Tensor:
        """Return like hidden."""
        self.given += [weakref.ref(one) for one in (hidden, told, nested["level"])]
        left: Tensor = torch.tanh(self.layer(hidden) * told) + nested["level"]
        return left


def kept(*, inputs_on_host: bool) -> list[bool]:
    """Tell of each of a block's inputs whether it still lives between forward and backward."""
    block, start = Doubling(), torch.ones(2, 3, requires_grad=True)
    checkpoint_blocks([block], inputs_on_host=inputs_on_host)
    answer = block(start * 2, told=start * 3, nested={"level": start * 4})
    alive = [one() is not None for one in block.given]
    answer.sum().backward()
    assert start.grad is not None
    return alive


def test_inputs_are_kept_on_the_device_or_on_the_host() -> None:
    assert kept(inputs_on_host=False) == [True, True, True]
    assert kept(inputs_on_host=True) == [False, False, False]


def test_nothing_but_inputs_goes_to_the_host_and_all_of_it_passes_the_hooks() -> None:
    seen: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        seen.append(tensor)
        return tensor

    block, start = Doubling(), torch.ones(2, 3, requires_grad=True)
    checkpoint_blocks([block])
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        block(start, told=start[:, :1], nested={"level": start[0]})
    assert [tensor.shape for tensor in seen] == [(2, 3), (2, 1), (3,)]


def test_inputs_come_back_with_their_strides() -> None:
    strides = []
    block = nn.Conv2d(2, 2, 1)
    block.register_forward_pre_hook(lambda _, given: strides.append(given[0].stride()))
    inner = nn.Sequential(block)
    checkpoint_blocks([inner], inputs_on_host=True)
    start = torch.ones(2, 2, 3, 3, requires_grad=True).to(memory_format=torch.channels_last)
    inner(start).square().sum().backward()
    assert strides == [(18, 1, 6, 2)] * 2
