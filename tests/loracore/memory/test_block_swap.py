from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import set_checkpoint_early_stop

from loracore.memory.block_swap import rotating_places, swap_blocks
from tests.loracore.memory.adapted import CPU, adapt, equal, gradients, models_of
from tests.loracore.memory.stack import Stack

DEPTH = 7


@dataclass
class LateCopies:
    """Copies that arrive when they are waited for, not before; until then a slot holds NaN instead of what it held."""

    started: list[int] = field(default_factory=list)  # where on the host each copy came from
    slots: set[int] = field(default_factory=set)  # where on the device

    def __call__(self, target: Tensor, source: Tensor) -> Callable[[], None]:
        self.started.append(source.data_ptr())
        self.slots.add(target.data_ptr())
        target.fill_(255)  # NaN in every floating-point format

        def arrive() -> None:
            target.copy_(source)

        return arrive


def swapped_stack(swapped: int, copies: LateCopies | None = None) -> Stack:
    stack = Stack(DEPTH)
    models_of(stack, list(stack.blocks))
    if swapped:
        swap_blocks(list(stack.blocks), swapped, CPU, copies or LateCopies())
    return stack


def trained(swapped: int, only: Collection[int] | None = None) -> list[Tensor]:
    stack = swapped_stack(swapped)
    return gradients(adapt(list(stack.blocks), only), stack.answer)


def place_of(block: nn.Module) -> int:
    return block.get_submodule("norm").get_parameter("weight").untyped_storage().data_ptr()


@given(st.integers(3, 100).flatmap(lambda blocks: st.tuples(st.just(blocks), st.integers(1, blocks - 2))))
def test_rotating_blocks_are_spread_evenly(sizes: tuple[int, int]) -> None:
    blocks, swapped = sizes
    places = list(rotating_places(blocks, swapped))
    gaps = {later - earlier for earlier, later in pairwise(places)}
    assert len(places) == swapped + 2
    assert 0 <= places[0] <= places[-1] < blocks
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) >= 1


@pytest.mark.parametrize("swapped", range(1, DEPTH - 1))
def test_gradients_are_bitwise_those_without_swapping(swapped: int) -> None:
    assert equal(trained(swapped), trained(0))


@pytest.mark.parametrize("only", [{0}, {3}, {DEPTH - 1}, {1, 4}])
def test_blocks_without_adapters_may_never_be_recomputed(only: set[int]) -> None:
    assert equal(trained(4, only), trained(0, only))


def test_gradients_reach_inputs_through_blocks_without_adapters() -> None:
    def gradient(swapped: int) -> Tensor:
        stack = swapped_stack(swapped)
        stack.tell.requires_grad_(requires_grad=True)
        torch.manual_seed(0)
        stack.answer().square().sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        assert stack.tell.weight.grad is not None
        return stack.tell.weight.grad

    assert torch.equal(gradient(3), gradient(0))


def test_two_forward_passes_may_wait_for_one_backward_pass() -> None:
    def twice(swapped: int) -> list[Tensor]:
        stack = swapped_stack(swapped)
        return gradients(adapt(list(stack.blocks)), lambda: torch.cat([stack.answer(), stack.answer()]))

    assert equal(twice(4), twice(0))


def test_a_recomputation_may_run_to_its_end() -> None:
    with set_checkpoint_early_stop(enable=False):
        found = trained(4)
    assert equal(found, trained(0))


@pytest.mark.parametrize("swapped", [1, 2, DEPTH - 2])
def test_answers_without_gradients_are_the_same_again_and_again(swapped: int) -> None:
    plain, stack = swapped_stack(0).eval(), swapped_stack(swapped).eval()
    with torch.no_grad():
        assert torch.equal(stack.answer(), plain.answer())
        assert torch.equal(stack.answer(), plain.answer())


def test_training_and_answering_may_take_turns() -> None:
    def found(swapped: int) -> list[Tensor]:
        stack = swapped_stack(swapped)
        network = adapt(list(stack.blocks))
        gradients(network, stack.answer)
        torch.manual_seed(0)
        with torch.no_grad():
            answer = stack.answer()
        return [answer, *gradients(network, stack.answer)]

    assert equal(found(3), found(0))


@pytest.mark.parametrize("swapped", range(1, DEPTH - 1))
def test_no_more_blocks_than_allowed_are_on_the_device(swapped: int) -> None:
    copies, counts = LateCopies(), []
    stack = swapped_stack(swapped, copies)
    homes = [place_of(stack.blocks[at]) for at in rotating_places(DEPTH, swapped)]
    assert len(set(homes)) == swapped + 2

    def count(*_: object) -> None:
        counts.append(sum(place_of(block) not in homes for block in stack.blocks))

    for block in stack.blocks:
        block.get_submodule("dropout").register_forward_hook(count)
    gradients(adapt(list(stack.blocks)), stack.answer)
    assert max(counts) <= DEPTH - swapped
    assert len(copies.slots) == 2


def test_each_weight_is_copied_once_in_each_direction_and_ahead_of_its_turn() -> None:
    copies = LateCopies()
    stack = swapped_stack(DEPTH - 2, copies)
    homes = [place_of(block) for block in stack.blocks]
    ahead = []
    stack.blocks[3].register_forward_pre_hook(lambda *_: ahead.append(len(copies.started)))
    gradients(adapt(list(stack.blocks)), stack.answer, steps=2)
    step = [2, 3, 4, 5, 6, 4, 3, 2, 1, 0]
    assert [homes.index(place) for place in copies.started] == [0, 1, *step, *step]
    assert ahead[0] == 4  # before the block itself asks for it, its own copy was under way


def test_host_copies_are_permanent() -> None:
    stack, plain = swapped_stack(4), Stack(DEPTH)
    places = rotating_places(DEPTH, 4)
    homes = [place_of(stack.blocks[at]) for at in places]
    gradients(adapt(list(stack.blocks)), stack.answer)
    waiting = [at for at, home in zip(places, homes, strict=True) if place_of(stack.blocks[at]) == home]
    assert len(waiting) == 4
    for at in waiting:
        found, expected = stack.blocks[at].state_dict(), plain.blocks[at].state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_weights_of_several_dtypes_share_a_block() -> None:
    def answer(*, swapped: bool) -> Tensor:
        stack = Stack(3).requires_grad_(requires_grad=False).eval()
        for block in stack.blocks:
            block.get_submodule("narrow").to(torch.float16)
            block.get_submodule("dropout").register_forward_hook(lambda *call: call[2].half())
        if swapped:
            swap_blocks(list(stack.blocks), 1, CPU, LateCopies())
        return stack.answer()

    assert torch.equal(answer(swapped=True), answer(swapped=False))


def test_weights_that_train_stay_where_they_are() -> None:
    stack = Stack(3).requires_grad_(requires_grad=True)
    swap_blocks(list(stack.blocks), 1, CPU, LateCopies())
    stack.answer().sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert all(parameter.grad is not None for parameter in stack.blocks.parameters())


def test_freed_models_leave_nothing_behind() -> None:
    stack = swapped_stack(4)
    gradients(adapt(list(stack.blocks)), stack.answer)
    seen = [weakref.ref(block) for block in stack.blocks]
    del stack
    gc.collect()
    assert [one() for one in seen] == [None] * DEPTH
