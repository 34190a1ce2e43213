from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from loracore import TrainingOptions
from loracore.networks.rates import ParameterGroup
from loracore.training.processes import Processes
from loracore.training.updates.fused_updates import FusedUpdates
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.optimizers import build_optimizer
from loracore.training.updates.whole_updates import Updates

CPU = torch.device("cpu")
FIXED = ("relative_step=False", "scale_parameter=False")
MOMENT = (*FIXED, "beta1=0.9", "weight_decay=0.1")


def layers(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).to(dtype)


def training(arguments: Sequence[str] = FIXED) -> TrainingOptions:
    return TrainingOptions(optimizer_type="Adafactor", learning_rate=1e-2, optimizer_args=tuple(arguments))


def groups(model: nn.Sequential) -> list[ParameterGroup]:
    """Two groups, as a run has them for two parts."""
    return [
        ParameterGroup("unet", 1e-2, (*model[0].parameters(),)),
        ParameterGroup("te1", 1e-3, (*model[2].parameters(),)),
    ]


def fused(model: nn.Sequential, arguments: Sequence[str] = FIXED, max_norm: float = 0) -> FusedUpdates:
    return FusedUpdates(build_optimizer(groups(model), training(arguments)), max_norm, CPU)


def whole(model: nn.Sequential, arguments: Sequence[str] = FIXED) -> Updates:
    gradients = Gradients(list(model.parameters()), Processes(CPU, 0, 1), 0)
    return Updates(build_optimizer(groups(model), training(arguments)), gradients)


def loss_of(model: nn.Sequential, step: int, *, checkpointed: bool = False) -> Tensor:
    inputs = torch.full((2, 8), 0.1 * (step + 1), dtype=next(model.parameters()).dtype)
    output: Tensor = checkpoint(model, inputs, use_reentrant=False) if checkpointed else model(inputs)
    return output.float().square().mean()


def train(model: nn.Sequential, updates: FusedUpdates | Updates, *, checkpointed: bool = False) -> list[Tensor]:
    """Return the gradients' norms and what the parameters are after five steps."""
    norms = []
    for step in range(5):
        loss = loss_of(model, step, checkpointed=checkpointed)
        updates.backward(loss)
        norms.append(updates.apply(loss.detach()).grad_norm)
    return [torch.stack(norms), *(one.detach() for one in model.parameters())]


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [
        (FIXED, torch.float32),
        (FIXED, torch.bfloat16),
        ((), torch.float32),
        (("warmup_init=True",), torch.float32),
        (MOMENT, torch.float32),
        (MOMENT, torch.bfloat16),
    ],
)
def test_parameters_are_bit_by_bit_those_of_a_whole_step(
    arguments: Sequence[str], dtype: torch.dtype, *, checkpointed: bool
) -> None:
    one, other = layers(dtype), layers(dtype)
    fused_norms, *mine = train(one, fused(one, arguments), checkpointed=checkpointed)
    whole_norms, *theirs = train(other, whole(other, arguments), checkpointed=checkpointed)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    torch.testing.assert_close(fused_norms, whole_norms)
    assert not torch.equal(mine[0], next(layers(dtype).parameters()))


def test_one_gradient_is_alive_at_a_time() -> None:
    model, alive = layers(), []

    def count(_: Tensor) -> None:
        alive.append(sum(one.grad is not None for one in model.parameters()))

    for one in model.parameters():
        one.register_post_accumulate_grad_hook(count)  # type: ignore[no-untyped-call]  # torch's own
    train(model, fused(model))
    assert alive == [1] * 4 * 5
    assert all(one.grad is None for one in model.parameters())


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts how often a number is asked of the device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("arguments", [FIXED, ("relative_step=False",), ()])
def test_the_host_never_waits(arguments: Sequence[str]) -> None:
    model = layers()
    updates = fused(model, arguments)
    for step in range(2):
        with Waits() as waits:  # type: ignore[no-untyped-call]  # torch's own
            updates.apply(_backward(updates, loss_of(model, step)))
        assert waits.count == 0


def _backward(updates: FusedUpdates, loss: Tensor) -> Tensor:
    updates.backward(loss)
    return loss.detach()


@pytest.mark.parametrize("arguments", [FIXED, MOMENT])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_gradient_changes_neither_parameters_nor_their_moments(bad: float, arguments: Sequence[str]) -> None:
    model = layers()
    updates = fused(model, arguments, max_norm=1.0)
    train(model, updates)
    optimizer = updates._optimizer  # its state is what is looked at
    before = [one.clone() for one in chain(model.parameters(), tensors(optimizer))]
    loss = loss_of(model, 0) * bad
    updates.backward(loss)
    assert updates.apply(torch.tensor(1.0)).bad == 1
    assert all(torch.equal(a, b) for a, b in zip(before, chain(model.parameters(), tensors(optimizer)), strict=True))
    assert train(model, updates)[0].isfinite().all()


def tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [one for state in optimizer.state.values() for one in state.values() if isinstance(one, Tensor)]


def test_a_bad_first_step_leaves_moments_of_zero() -> None:
    model = layers()
    updates = fused(model)
    updates.backward(loss_of(model, 0) * float("nan"))
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), layers().parameters(), strict=True))
    assert not any(one.any() for one in tensors(updates._optimizer))  # its state is what is looked at


@pytest.mark.parametrize("arguments", [FIXED, MOMENT, (), (*FIXED, "decay_rate=-0.3")])
@pytest.mark.parametrize("bad", [(0,), (0, 1), (2,), (0, 3)])
def test_after_bad_steps_all_is_as_in_a_whole_run_that_skipped_them(
    bad: Sequence[int], arguments: Sequence[str]
) -> None:
    one, other = layers(), layers()
    mine, theirs = fused(one, arguments), whole(other, arguments)
    for step in range(6):
        for model, updates in ((one, mine), (other, theirs)):
            loss = loss_of(model, step) * (float("nan") if step in bad else 1.0)
            updates.backward(loss)
            updates.apply(loss.detach())
    for ours, whole_ones, start in zip(one.parameters(), other.parameters(), layers().parameters(), strict=True):
        torch.testing.assert_close(ours, whole_ones, rtol=1e-5, atol=1e-7)  # another order of the same arithmetic
        assert not torch.allclose(ours, start, atol=1e-4)


def test_a_bad_loss_changes_nothing_although_its_gradients_are_finite() -> None:
    model = layers()
    updates = fused(model)
    loss = loss_of(model, 0) + float("inf")
    updates.backward(loss)
    assert updates.apply(loss.detach()).bad == 1
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), layers().parameters(), strict=True))


def test_a_bad_loss_shows_although_its_gradients_do_not() -> None:
    model = layers()
    updates = fused(model)
    updates.backward(loss_of(model, 0))
    assert updates.apply(torch.tensor(float("nan"))).bad == 1
    assert updates.apply(torch.tensor(0.0)).bad == 0


def test_each_gradient_is_limited_by_itself() -> None:
    free, limited = layers(), layers()
    seen: list[float] = []
    updates = fused(limited, max_norm=1e-3)
    step = updates._optimizer.step  # what the optimizer is given is looked at

    def watch() -> None:
        (one,) = updates._optimizer.param_groups[0]["params"]
        seen.append(float(one.grad.norm()))
        step()

    updates._optimizer.step = watch  # type: ignore[method-assign,assignment]
    norm = train(limited, updates)[0]
    assert max(seen) == pytest.approx(1e-3, rel=1e-2)
    assert norm[0] == train(free, fused(free))[0][0]  # as measured before


def test_the_optimizer_sees_all_its_groups_between_steps() -> None:
    model = layers()
    updates = fused(model)
    train(model, updates)
    state = updates._optimizer.state_dict()  # as a run's state would hold it
    assert [group["name"] for group in state["param_groups"]] == ["unet", "te1"]
    assert len(state["state"]) == 4
    updates._optimizer.load_state_dict(state)
    for group in updates._optimizer.param_groups:
        group["lr"] = 0.0  # what a schedule sets counts, in the groups that were loaded
    before = [one.clone() for one in model.parameters()]
    train(model, updates)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_counts_of_bad_steps_go_on_from_their_state() -> None:
    begun, resumed = fused(layers()), fused(layers())
    begun._tried += 3
    begun._good += 2
    resumed.load(begun.state())
    assert torch.equal(resumed._tried, begun._tried)
    assert torch.equal(resumed._good, begun._good)
    begun._tried += 1
    assert not torch.equal(resumed._tried, begun._tried)
