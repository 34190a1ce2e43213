"""A step of any optimizer that is not applied when its loss or gradient was bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from loracore.config.updates.optimizer_names import package_of
from loracore.training.updates.optimizer_state import NOT_STATE

#: Values that are chosen from at a time: more at once would cost memory, fewer would cost launches.
CHUNK = 2**24


class StepGuard:
    """Steps an optimizer, or leaves everything as it is when ``bad`` (0 or 1, on the device) is 1.

    Fused Adam and AdamW read the flag on the device. Where the host waits anyway (on the CPU, and for optimizers that
    read the device themselves) the optimizer is not called at all. For all others the host never waits: parameters and
    tensors of the state are copied, the gradients of a bad step become 0, and the copies come back where it was bad.
    What such an optimizer counts on the host counts bad steps, too. Until its first step, which makes its state, the
    flag is read: there is nothing yet to come back to.
    """

    def __init__(self) -> None:
        self._stepped = False

    def step(self, optimizer: Optimizer, bad: Tensor) -> None:
        """Step with the gradients that the parameters hold."""
        if type(optimizer) in {Adam, AdamW} and optimizer.defaults["fused"]:
            optimizer.found_inf, optimizer.grad_scale = bad, None  # type: ignore[attr-defined]  # read by the fused kernel
            optimizer.step()
        elif self._stepped and not _waits(optimizer, bad):
            guarded_step(optimizer, bad)
        elif not bad.item():
            optimizer.step()
            self._stepped = True


@torch.no_grad()
def guarded_step(optimizer: Optimizer, bad: Tensor) -> None:
    """Step, and put everything back on the device where ``bad`` is 1; the host does not wait.

    Tensors that the step makes anew, for a parameter that never had a gradient before, are those of a gradient of 0
    then.
    """
    device, wrong = bad.device, bad.bool()
    gradients = [one.grad for one in _parameters(optimizer) if one.grad is not None]
    for chunk in _chunks(gradients):
        flat = _flat(chunk)
        _copy_back(chunk, torch.where(wrong, torch.zeros_like(flat), flat))
    places = [place for place in _places(optimizer) if place.value.device == device]
    tensors = [*_parameters(optimizer), *(place.value for place in places)]
    chunks = list(_chunks([one for one in tensors if one.device == device]))
    before = [_flat(chunk) for chunk in chunks]
    optimizer.step()
    for place in places:  # some optimizers put a new tensor in the place of the old one
        place.settle()
    for chunk, old in zip(chunks, before, strict=True):
        _copy_back(chunk, torch.where(wrong, old, _flat(chunk)))


@dataclass(frozen=True, eq=False, slots=True)
class _Place:
    """Where an optimizer keeps a tensor."""

    holder: MutableMapping[str, Any]
    name: str
    value: Tensor

    def settle(self) -> None:
        """Have the tensor that was there before the step hold what the step made, and be there again."""
        found = self.holder[self.name]
        if found is not self.value and isinstance(found, Tensor) and found.shape == self.value.shape:
            self.holder[self.name] = self.value.copy_(found)


def _places(optimizer: Optimizer) -> Iterator[_Place]:
    """Give every tensor of the state: of parameters, of groups, and of the optimizer itself."""
    for holder in chain(optimizer.state.values(), optimizer.param_groups, [vars(optimizer)]):
        for name, value in holder.items():
            if name not in NOT_STATE and isinstance(value, Tensor):
                yield _Place(holder, name, value)


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _chunks(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Give tensors of one dtype, so many that they hold about ``CHUNK`` values."""
    open_chunks: dict[torch.dtype, list[Tensor]] = {}
    taken: Counter[torch.dtype] = Counter()
    for tensor in {id(one): one for one in tensors}.values():
        open_chunks.setdefault(tensor.dtype, []).append(tensor)
        taken[tensor.dtype] += tensor.numel()
        if taken[tensor.dtype] >= CHUNK:
            yield open_chunks.pop(tensor.dtype)
            taken[tensor.dtype] = 0
    yield from open_chunks.values()


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.detach().reshape(-1) for one in tensors])


def _copy_back(tensors: Sequence[Tensor], flat: Tensor) -> None:
    parts = torch.split(flat, [one.numel() for one in tensors])
    torch._foreach_copy_(list(tensors), [part.view(one.shape) for part, one in zip(parts, tensors, strict=True)])


def _waits(optimizer: Optimizer, bad: Tensor) -> bool:
    return bad.device.type == "cpu" or package_of(type(optimizer).__module__).waits
