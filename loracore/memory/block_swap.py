"""Block swap: blocks whose weights wait in host memory and take turns in two slots on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from loracore.memory.block_weights import BlockWeights, size_in_slot
from loracore.memory.checkpointing import run_checkpointed

#: Starts copying the second tensor into the first, and returns what makes the device wait until it is there.
Copy = Callable[[Tensor, Tensor], Callable[[], None]]

SLOTS = 2


def rotating_places(blocks: int, swapped: int) -> Sequence[int]:
    """Return which of the blocks share the slots so that ``swapped`` blocks' weights are off the device at any time.

    They are spread evenly over the order of execution: a copy hides behind the resident blocks before its own.
    """
    rotating = swapped + SLOTS
    return [(2 * turn + 1) * blocks // (2 * rotating) for turn in range(rotating)]


def slots_size(blocks: Sequence[nn.Module], swapped: int) -> int:
    """Return how many bytes the slots take through which ``swapped`` + 2 of the blocks take turns."""
    sizes = [size_in_slot(blocks[place]) for place in rotating_places(len(blocks), swapped)]
    return sum(max(sizes[first::SLOTS]) for first in range(SLOTS))


def swap_blocks(blocks: Sequence[nn.Module], swapped: int, device: torch.device, copy: Copy | None = None) -> None:
    """Let all but ``swapped`` blocks' frozen weights be on the device at once; the others wait on the host.

    ``blocks`` are in the order of execution, ``swapped`` is at least 1 and at most their number - 2. The weights of
    blocks that take turns end up in host memory, whatever else they hold is left alone. ``copy`` stands in for the
    device's own way of copying.
    """
    chosen = [blocks[place] for place in rotating_places(len(blocks), swapped)]
    weights = [BlockWeights.of(block, pinned=device.type == "cuda") for block in chosen]
    slots = Slots(weights, device, copy or copying_to(device))
    for turn, block in enumerate(chosen):
        block.forward = partial(_run_swapped, slots, turn, block.forward)


def copying_to(device: torch.device) -> Copy:
    """Return the device's way of copying: beside its work on CUDA, in line with it elsewhere."""
    return SideStream(device) if device.type == "cuda" else copy_at_once


def copy_at_once(target: Tensor, source: Tensor) -> Callable[[], None]:
    """Copy in line with the device's work: nothing is left to wait for."""
    target.copy_(source)
    return nothing_to_wait_for


def nothing_to_wait_for() -> None:
    """Return at once."""


class SideStream:
    """Copies on a CUDA stream of its own, while the stream of the model goes on computing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own

    def __call__(self, target: Tensor, source: Tensor) -> Callable[[], None]:
        """Start once everything that the model's stream was given so far is done: it may read the target."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
        # Freed with the model while a copy is on its way, the memory must not be given to others before it is there.
        target.record_stream(self._stream)
        return partial(self._await, self._stream.record_event())

    def _await(self, arrival: torch.cuda.Event) -> None:
        torch.cuda.current_stream(self._device).wait_event(arrival)


@dataclass(slots=True)
class _Slot:
    """Bytes on the device, and whose weights they hold."""

    place: Tensor
    turn: int | None = None
    wait: Callable[[], None] = nothing_to_wait_for  # until they are there


class Slots:
    """The rotating blocks' places on the device: even turns use one, odd turns the other.

    **Why a slot may be overwritten.** Writing other weights between a block's forward and backward pass would give
    wrong gradients without any error: autograd does not see it. It cannot happen here. A rotating block is one
    checkpointed region, so that nothing of its forward pass points into the slot when it is over. Its weights are
    fetched again by the recomputation, which the first of its backward nodes starts, and from then on its backward
    nodes point into the slot. Every other block's recomputation, the only other one that writes, starts later than the
    last of these nodes, because autograd runs the nodes of one device in falling order of the sequence numbers that
    they got in the forward pass: of all nodes that are not done, the highest waits for none (what it waits for was
    made after it) and stands first in the queue. So all kernels that read the slot have been given to the device
    before `fetch` is called for another block, and `SideStream` waits for them. All of this needs blocks that run one
    after the other, in one thread and on one device. That a recomputation is left early, by an exception, changes
    nothing: nothing is to be done after it.
    """

    def __init__(self, weights: Sequence[BlockWeights], device: torch.device, copy: Copy) -> None:
        self._weights = weights
        self._copy = copy
        sizes = [max(one.host.nbytes for one in weights[first::SLOTS]) for first in range(SLOTS)]
        self._slots = [_Slot(torch.empty(size, dtype=torch.uint8, device=device)) for size in sizes]

    def fetch(self, turn: int, then: int | None) -> None:
        """Bring a block's weights in, ready for use, and start the copy of the block that comes ``then``."""
        slot = self._load(turn)
        if then is not None:
            self._load(then)
        slot.wait()
        self._weights[turn].live_in(slot.place)

    def after(self, turn: int, *, backward: bool) -> int | None:
        """Return whose turn comes next, as far as its weights can be fetched while those of ``turn`` are in use.

        Where the direction changes, both slots hold the right weights already: the last two blocks between forward and
        backward, the first two between steps. Without gradients, the first block follows the last.
        """
        following = turn - 1 if backward else turn + 1
        if 0 <= following < len(self._weights):
            return following
        again_from_start = not torch.is_grad_enabled() and turn % SLOTS != 0
        return 0 if again_from_start else None

    def _load(self, turn: int) -> _Slot:
        slot = self._slots[turn % SLOTS]
        if slot.turn == turn:
            return slot
        if slot.turn is not None:
            former = self._weights[slot.turn]
            former.live_in(former.host)  # never views of what another block's weights are in
        host = self._weights[turn].host
        slot.wait = self._copy(slot.place[: host.nbytes], host)
        slot.turn = turn
        return slot


@dataclass(frozen=True, eq=False, slots=True)
class _Region:
    """One call of a rotating block: its forward pass first, then its recomputation."""

    slots: Slots
    turn: int
    forward: Callable[..., Any]
    runs: Iterator[int]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.slots.fetch(self.turn, self.slots.after(self.turn, backward=next(self.runs) > 0))
        return self.forward(*args, **kwargs)


def _run_swapped(slots: Slots, turn: int, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return run_checkpointed(_Region(slots, turn, forward, count()), args, kwargs)
