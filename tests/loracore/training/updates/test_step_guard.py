from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from loracore.config.updates.optimizer_names import named_optimizer, package_of
from loracore.training.updates.optimizer_state import optimizer_state
from loracore.training.updates.step_guard import StepGuard, guarded_step
from tests.loracore.training.updates.every_optimizer import (
    NAMES,
    built,
    give_gradients,
    parameters,
    quietly,
    step,
    tensors,
)

BAD, GOOD = torch.tensor(1.0), torch.tensor(0.0)


def spoil(several: list[nn.Parameter], value: float = math.nan) -> None:
    for one in several:
        one.grad = torch.full_like(one, value)


def snapshot(several: list[nn.Parameter], optimizer: Optimizer) -> list[torch.Tensor]:
    return [*(one.detach().clone() for one in several), *tensors(optimizer_state(optimizer))]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_on_the_device_every_tensor_comes_back_after_a_bad_step(name: str, value: float) -> None:
    several = parameters()
    optimizer = built(name, several)
    for number in range(2):
        step(optimizer, number)
    before = snapshot(several, optimizer)
    spoil(several, value)
    with quietly():
        guarded_step(optimizer, BAD)
    after = snapshot(several, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["Lion", "SGDNesterov", "AdamWScheduleFree", "Adafactor", "RAdam", "CAME"])
def test_on_the_device_good_steps_are_those_of_the_optimizer(name: str) -> None:
    name = f"pytorch_optimizer.{name}" if name == "CAME" else name
    plain, guarded = parameters(), parameters()
    one, other = built(name, plain), built(name, guarded)
    for number in range(3):
        step(one, number)
        give_gradients(other, number)
        with quietly():
            guarded_step(other, GOOD)
    assert all(torch.equal(a, b) for a, b in zip(plain, guarded, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_first_step_leaves_no_trace(name: str) -> None:
    several, undisturbed = parameters(), parameters()
    optimizer, plain, guard = built(name, several), built(name, undisturbed), StepGuard()
    spoil(several)
    with quietly():
        guard.step(optimizer, BAD)
        for number in range(2):
            step(plain, number)
            give_gradients(optimizer, number)
            guard.step(optimizer, GOOD)
    assert all(torch.equal(a, b) for a, b in zip(several, undisturbed, strict=True))


def test_a_tensor_that_is_replaced_in_the_step_comes_back() -> None:
    class Replacing(torch.optim.SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002  # torch's own
            for group in self.param_groups:
                for one in group["params"]:
                    self.state[one]["seen"] = self.state[one].get("seen", torch.zeros(2)) + 1

    several = parameters()
    optimizer = Replacing(several, lr=1.0)
    optimizer.step()
    spoil(several)
    guarded_step(optimizer, BAD)
    assert optimizer.state[several[0]]["seen"].tolist() == [1, 1]
    guarded_step(optimizer, GOOD)
    assert optimizer.state[several[0]]["seen"].tolist() == [2, 2]


def test_many_tensors_are_chosen_from_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loracore.training.updates.step_guard.CHUNK", 100)
    several = parameters()
    optimizer = built("Lion", several)
    step(optimizer, 0)
    before = snapshot(several, optimizer)
    spoil(several)
    guarded_step(optimizer, BAD)
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(several, optimizer), strict=True))


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts how often a number is asked of the device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["Lion", "SGDNesterov", "AdamWScheduleFree", "SGDScheduleFree", "Adafactor", "AdamW"])
def test_the_host_never_waits_for_a_guarded_step(name: str) -> None:
    several = parameters()
    optimizer = built(name, several)
    step(optimizer, 0)
    give_gradients(optimizer, 1)
    with Waits() as waits:  # type: ignore[no-untyped-call]  # torch's own
        StepGuard().step(optimizer, GOOD) if name == "AdamW" else guarded_step(optimizer, BAD)
    assert waits.count == 0


def _package(name: str) -> str:
    found = named_optimizer(name)
    return (name if found is None else found.module).partition(".")[0]


ADAPTING = [name for name in NAMES if name.startswith(("DAdapt", "Prodigy", "prodigyplus"))]
CUDA_ONLY = [name for name in NAMES if _package(name) == "bitsandbytes"]


@pytest.mark.parametrize("name", ADAPTING)
def test_those_that_are_not_guarded_wait_in_every_step_of_their_own(name: str) -> None:
    several = parameters()
    optimizer = built(name, several)
    assert package_of(_package(name)).waits
    for number in range(3):
        give_gradients(optimizer, number)
        with quietly(), Waits() as waits:  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
        assert waits.count


@pytest.mark.parametrize("name", CUDA_ONLY)
def test_bitsandbytes_waits_for_its_kernels_in_every_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[Any] = []
    monkeypatch.setattr("bitsandbytes.optim.optimizer.sync_gpu", waits.append)
    several = parameters()
    optimizer = built(name, several)
    step(optimizer, 0)
    assert waits
