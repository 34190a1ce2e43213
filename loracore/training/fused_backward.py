"""How gradients become a step of the optimizer: each by itself, as soon as it is there, so that one at a time lives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loracore.training.updates import Applied


class FusedUpdates:
    """Steps the optimizer for each parameter inside the backward pass, and frees its gradient.

    That needs an optimizer which treats every tensor on its own, one backward pass a step and one process. The norm of
    all gradients is known only afterwards: ``max_norm`` limits the norm of each (0: never). The host never waits here.
    """

    def __init__(self, optimizer: Optimizer, max_norm: float, device: torch.device) -> None:
        self._optimizer = optimizer
        self._max_norm = max_norm
        self._squares = torch.zeros((), device=device)
        for place, group in enumerate(optimizer.param_groups):
            for parameter in group["params"]:
                parameter.register_post_accumulate_grad_hook(partial(self._use, place))

    def backward(self, loss: Tensor) -> None:
        """Move every parameter against its gradient; parameters whose gradient is not finite stay as they are."""
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own

    def apply(self, loss: Tensor) -> Applied:
        """Return the norm of all gradients that were used, and whether they or the step's loss were bad."""
        grad_norm, self._squares = self._squares.sqrt(), torch.zeros_like(self._squares)
        return Applied(grad_norm, (~torch.isfinite(grad_norm + loss)).float())

    @torch.no_grad()
    def _use(self, place: int, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        norm = torch.linalg.vector_norm(parameter.grad, dtype=torch.float32)
        self._squares += norm.square()
        if self._max_norm:
            nn.utils.clip_grads_with_norm_(parameter, self._max_norm, norm)
        weight = parameter.clone()
        state = {name: one.clone() for name, one in _tensors(self._optimizer, parameter).items()}
        self._step_alone(place, parameter)
        good = torch.isfinite(norm)
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
    """Return the tensors of a parameter's state; what is counted on the host goes on in a bad step, too."""
    state = optimizer.state.get(parameter, {})
    return {name: one for name, one in state.items() if isinstance(one, Tensor)}
