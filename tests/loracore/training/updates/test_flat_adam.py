from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from loracore.training.processes import Processes
from loracore.training.updates.flat_adam import FlatAdam
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.optimizer_state import load_optimizer_state, optimizer_state
from loracore.training.updates.whole_updates import Updates

SHAPES = ((3, 5), (7,), (2, 3, 4), (1,), (11, 2))
LOSS = torch.tensor(1.0)


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def built(several: list[nn.Parameter], kind: type[Optimizer] = AdamW, **arguments: Any) -> Optimizer:
    groups = [{"params": several[:3], "lr": 0.1}, {"params": several[3:], "lr": 0.03}]
    return kind(groups, fused=True, weight_decay=0.1, **arguments)  # type: ignore[call-arg]  # Adam's and AdamW's


def updates(several: list[nn.Parameter], optimizer: Optimizer, *, flat: bool, max_norm: float = 1.0) -> Updates:
    gradients = Gradients(several, Processes(torch.device("cpu"), 0, 1), max_norm)
    return Updates(optimizer, gradients, FlatAdam(optimizer) if flat else None)


def gradients_of(number: int, several: list[nn.Parameter], left_out: tuple[int, ...] = ()) -> None:
    generator = torch.Generator().manual_seed(number)
    for place, one in enumerate(several):
        drawn = torch.randn(one.shape, generator=generator)
        one.grad = None if place in left_out else drawn


def steps(own: Updates, several: list[nn.Parameter], *left_out: tuple[int, ...], first: int = 0) -> list[Tensor]:
    norms = []
    for number, none in enumerate(left_out):
        gradients_of(first + number, several, none)
        norms.append(own.apply(LOSS).grad_norm)
    return norms


def assert_alike(one: list[nn.Parameter], other: list[nn.Parameter]) -> None:
    for flat, plain in zip(one, other, strict=True):
        torch.testing.assert_close(flat, plain, rtol=1e-6, atol=1e-7)  # a kernel's vectors end elsewhere


@pytest.mark.parametrize("max_norm", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(Adam, {}), (AdamW, {}), (Adam, {"decoupled_weight_decay": True}), (AdamW, {"maximize": True})],
)
def test_steps_over_buffers_are_the_optimizers_own(
    kind: type[Optimizer], arguments: dict[str, Any], max_norm: float
) -> None:
    one, other = parameters(), parameters()
    flat = updates(one, built(one, kind, **arguments), flat=True, max_norm=max_norm)
    plain = updates(other, built(other, kind, **arguments), flat=False, max_norm=max_norm)
    torch.testing.assert_close(steps(flat, one, *[()] * 5), steps(plain, other, *[()] * 5))
    assert_alike(one, other)
    assert flat.flat is not None
    assert flat.flat.joined


@pytest.mark.parametrize(
    "left_out",
    [
        [(1,)] * 4,  # never used
        [(), (), (2,), (), ()],  # missing once: it neither decays nor counts
        [(4,), (4,), (), ()],  # used from the third step on
        [(0, 1, 2), (), ()],  # a whole group begins later
    ],
)
def test_a_missing_gradient_is_not_one_that_is_zero(left_out: list[tuple[int, ...]]) -> None:
    one, other = parameters(), parameters()
    flat, plain = updates(one, built(one), flat=True), updates(other, built(other), flat=False)
    steps(flat, one, *left_out)
    steps(plain, other, *left_out)
    assert_alike(one, other)


def test_a_group_of_one_that_fills_its_buffer_is_one_like_any_other() -> None:
    one, other = ([nn.Parameter(torch.arange(16.0))] for _ in range(2))
    flat = updates(one, AdamW(one, fused=True), flat=True)
    plain = updates(other, AdamW(other, fused=True), flat=False)
    arrived = torch.full((16,), 2.0)
    for own, several in ((flat, one), (plain, other)):
        steps(own, several, (), ())
        several[0].grad = arrived.clone()
        own.apply(LOSS)
    assert_alike(one, other)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_step_changes_nothing(value: float) -> None:
    several = parameters()
    own = updates(several, built(several), flat=True)
    steps(own, several, (), ())
    before = [one.detach().clone() for one in several], str(optimizer_state(own.optimizer))
    gradients_of(9, several)
    several[2].grad = torch.full_like(several[2], value)
    assert own.apply(LOSS).bad == 1
    assert all(torch.equal(a, b) for a, b in zip(before[0], several, strict=True))
    assert str(optimizer_state(own.optimizer)) == before[1]


def test_what_is_resumed_goes_on_bit_for_bit() -> None:
    whole, first, second = parameters(), parameters(), parameters()
    steps(updates(whole, built(whole), flat=True), whole, *[()] * 6)
    before = updates(first, built(first), flat=True)
    steps(before, first, *[()] * 3)
    after = updates(second, built(second), flat=True)
    with torch.no_grad():
        for one, saved in zip(second, first, strict=True):
            one.copy_(saved)
    load_optimizer_state(after.optimizer, optimizer_state(before.optimizer))
    after.load(before.state())
    steps(after, second, *[()] * 3, first=3)
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


def test_tensors_that_others_put_into_parameters_are_stepped() -> None:
    one, other = parameters(), parameters()
    flat, plain = updates(one, built(one), flat=True), updates(other, built(other), flat=False)
    for number in range(4):
        steps(flat, one, (), first=number)
        steps(plain, other, (), first=number)
        for several in (one, other):
            several[1].data = several[1].data * 0.5
    assert_alike(one, other)
    assert flat.flat is not None
    assert flat.flat.joined


def test_groups_that_are_added_later_move() -> None:
    several, more = parameters(), nn.Parameter(torch.ones(3))
    own = updates(several, built(several), flat=True)
    steps(own, several, (), ())
    own.optimizer.add_param_group({"params": [more], "lr": 0.1})
    for number in range(2):
        more.grad = torch.ones(3)
        steps(own, several, (), first=number)
    assert (more < 0.9).all()


def test_a_state_that_torch_loads_is_gone_on_from() -> None:
    several = parameters()
    own = updates(several, built(several), flat=True)
    steps(own, several, (), ())
    saved = own.optimizer.state_dict()
    for group in saved["param_groups"]:
        group["lr"] = 0.0
    own.optimizer.load_state_dict(saved)
    before = [one.detach().clone() for one in several]
    steps(own, several, (), (), first=2)
    assert all(torch.equal(a, b) for a, b in zip(before, several, strict=True))
    assert own.optimizer.state[several[0]]["step"] == 4


def test_several_processes_begin_by_themselves_when_one_never_had_a_gradient() -> None:
    several = parameters()
    own = updates(several, built(several), flat=True)
    steps(own, several, (1,), (1,))
    assert own.flat is not None
    gradients_of(5, several)
    assert own.flat.gradients(zeros=True) is None  # whoever has a gradient for it and whoever has not
    gradients_of(5, several, (1,))
    assert own.flat.gradients(zeros=True) is None


def test_in_several_processes_a_missing_gradient_is_zero() -> None:
    several = parameters()
    own = updates(several, built(several), flat=True)
    steps(own, several, (), ())
    gradients_of(9, several, (0,))
    assert own.flat is not None
    joined = own.flat.gradients(zeros=True)
    assert joined is not None
    assert not joined[0][: several[0].numel()].any()
    assert joined[0].any()


def test_parameters_begin_at_whole_words() -> None:
    several = parameters()
    updates(several, built(several), flat=True)
    assert [one.data_ptr() % 32 for one in several] == [0] * len(several)


def test_whoever_watches_the_optimizer_is_called() -> None:
    several = parameters()
    own = updates(several, built(several), flat=True)
    steps(own, several, ())
    called: list[Any] = []
    own.optimizer.register_step_post_hook(lambda *found: called.append(found))
    steps(own, several, (), ())
    assert len(called) == 2


def test_other_optimizers_step_by_themselves() -> None:
    several = parameters()
    assert FlatAdam.fits(built(several))
    assert not FlatAdam.fits(built(several, amsgrad=True))
    assert not FlatAdam.fits(AdamW(several))
    assert not FlatAdam.fits(torch.optim.SGD(several))
    half = [*several, nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))]
    assert not FlatAdam.fits(AdamW(half, fused=True))
