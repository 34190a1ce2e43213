"""How gradients become a step of the optimizer: each by itself, as soon as it is there, so that one at a time lives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loracore.training.updates.adafactor import bring_up, catching_up
from loracore.training.updates.whole_updates import Applied


class FusedUpdates:
    """Steps the optimizer for each parameter inside the backward pass, and frees its gradient.

    That needs Adafactor, which treats every tensor on its own, one backward pass a step and one process. The norm of
    all gradients is known only afterwards: ``max_norm`` limits the norm of each (0: never). The host never waits here,
    so that Adafactor, which counts on the host, counts bad steps too; its moments are brought to where they would be
    without them. Only relative step sizes go on with the count, as the rates of every course do.
    """

    def __init__(self, optimizer: Optimizer, max_norm: float, device: torch.device) -> None:
        self._optimizer = optimizer
        self._max_norm = max_norm
        self._squares = torch.zeros((), device=device)
        self._finite = torch.ones((), dtype=torch.bool, device=device)  # the loss of this step
        owners = [(place, one) for place, group in enumerate(optimizer.param_groups) for one in group["params"]]
        self._tried, self._good = torch.zeros(2, len(owners), device=device)  # steps of each parameter
        self._decay = torch.tensor([optimizer.param_groups[place]["decay_rate"] for place, _ in owners], device=device)
        self._shares = torch.zeros_like(self._decay)
        for number, (place, parameter) in enumerate(owners):
            parameter.register_post_accumulate_grad_hook(partial(self._use, place, number))

    def backward(self, loss: Tensor) -> None:
        """Move every parameter against its gradient; without a finite loss all stay, without a finite gradient one."""
        self._finite = torch.isfinite(loss.detach())
        self._shares = catching_up(self._tried + 1, self._good + 1, self._decay)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own

    def apply(self, loss: Tensor) -> Applied:
        """Return the norm of all gradients that were used, and whether they or the step's loss were bad."""
        grad_norm, self._squares = self._squares.sqrt(), torch.zeros_like(self._squares)
        return Applied(grad_norm, (~torch.isfinite(grad_norm + loss)).float())

    def weights_to_read(self) -> AbstractContextManager[None]:
        """Have the parameters hold what is saved, shown and validated: Adafactor trains just these."""
        return nullcontext()

    def state(self) -> dict[str, Any]:
        """Return how many steps of each parameter were tried, and how many were good, in host memory."""
        return {"tried": self._tried.to("cpu", copy=True), "good": self._good.to("cpu", copy=True)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._tried.copy_(state["tried"])
        self._good.copy_(state["good"])

    @torch.no_grad()
    def _use(self, place: int, number: int, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        norm = torch.linalg.vector_norm(parameter.grad, dtype=torch.float32)
        self._squares += norm.square()
        if self._max_norm:
            nn.utils.clip_grads_with_norm_(parameter, self._max_norm, norm)
        weight = parameter.clone()
        state = {name: one.clone() for name, one in _tensors(self._optimizer, parameter).items()}
        smallest = self._optimizer.param_groups[place]["eps"][0]
        bring_up(_tensors(self._optimizer, parameter), parameter.grad, smallest, self._shares[number])
        self._step_alone(place, parameter)
        good = torch.isfinite(norm) & self._finite
        self._tried[number] += 1
        self._good[number] += good
        parameter.copy_(torch.where(good, parameter, weight))
        for name, one in _tensors(self._optimizer, parameter).items():
            one.copy_(torch.where(good, one, state.get(name, torch.zeros_like(one))))
        parameter.grad = None

    def _step_alone(self, place: int, parameter: nn.Parameter) -> None:
        """Step with the group narrowed to one parameter: state and saving still see a single optimizer."""
        groups = self._optimizer.param_groups
        # Looked up in every step: a state that is loaded brings groups of its own.
        self._optimizer.param_groups = [{**groups[place], "params": [parameter]}]
        try:
            self._optimizer.step()
        finally:
            self._optimizer.param_groups = groups


def _tensors(optimizer: Optimizer, parameter: nn.Parameter) -> Mapping[str, Tensor]:
    """Return the tensors of a parameter's state; what is counted on the host is not among them."""
    state = optimizer.state.get(parameter, {})
    return {name: one for name, one in state.items() if isinstance(one, Tensor)}
