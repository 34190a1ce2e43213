"""Adam and AdamW over flat buffers: one kernel for all parameters of a group, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

#: What fused Adam keeps of a parameter; with others (``amsgrad``) the optimizer steps by itself.
_MOMENTS = ("exp_avg", "exp_avg_sq")


class FlatAdam:
    """Steps torch's fused Adam or AdamW over everything at once; small tensors cost a launch each otherwise.

    The parameters of each group become views of one buffer when this is made, the optimizer's moments and counts after
    its first step, so that files, states and averages find them where they were. The arithmetic is torch's own kernel,
    element by element.

    A parameter without a gradient is not one whose gradient is zero: it neither decays nor counts a step. So whenever
    others have gradients than in the step before, the optimizer steps by itself, and as long as their counts differ.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._weights = [_joined_weights(group["params"]) for group in optimizer.param_groups]
        self._runs: Sequence[_Run] | None = None  # not joined yet
        self._idle: Sequence[nn.Parameter] = ()  # never had a gradient
        self._first = False  # the step to come is the first of all
        self._apart = False  # parameters have come to different counts of steps

    @staticmethod
    def fits(optimizer: Optimizer) -> bool:
        """Tell whether an optimizer can be stepped like this: torch's own, fused, of one dtype and device a group."""
        if type(optimizer) not in {Adam, AdamW}:
            return False
        groups = optimizer.param_groups
        return all(
            group["fused"] and not group["amsgrad"] and not isinstance(group["lr"], Tensor) and _alike(group["params"])
            for group in groups
        )

    @property
    def joined(self) -> bool:
        """Tell whether moments and counts lie in buffers now."""
        return self._runs is not None

    def forget(self) -> None:
        """Join moments and counts anew before the next step: the optimizer has been given others."""
        self._runs, self._first, self._apart = None, False, False

    def gradients(self, *, zeros: bool) -> list[Tensor] | None:
        """Return all gradients, joined, and take them from the parameters; None: the optimizer must step by itself.

        With ``zeros`` a missing gradient counts as zero: another process may have it.
        """
        if self._apart or self._watched() or (self._runs is None and not self._join()):
            return None
        assert self._runs is not None
        found = [[parameter.grad for parameter in run.parameters] for run in self._runs]
        lacking = not zeros and any(grad is None for grads in found for grad in grads)
        if lacking or any(parameter.grad is not None for parameter in self._idle):
            self._runs = None
            return None
        return [_joined_gradient(run.parameters, grads) for run, grads in zip(self._runs, found, strict=True)]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], bad: Tensor) -> None:
        """Step with what ``gradients`` gave; where ``bad`` (0 or 1, on the device) is 1 nothing changes."""
        assert self._runs is not None
        for run, gradient in zip(self._runs, gradients, strict=True):
            run.step(gradient, bad, decoupled=type(self._optimizer) is AdamW)

    def _watched(self) -> bool:
        """Tell whether somebody wants to be called when the optimizer steps."""
        own = vars(self._optimizer)
        return bool(own["_optimizer_step_pre_hooks"] or own["_optimizer_step_post_hooks"] or "step" in own)

    def _join(self) -> bool:
        """Join moments and counts; tell whether that is possible: the optimizer has stepped, and counts are alike."""
        states = self._optimizer.state
        counts = [values["step"].float() for values in states.values() if values]
        if not counts:
            self._first = True
            return False
        # After the first of all steps nothing need be read. Otherwise, rarely, the host waits.
        self._apart = not self._first and bool((torch.stack(counts) != counts[0]).any())
        self._first = False
        if self._apart:
            return False
        pairs = zip(self._optimizer.param_groups, self._weights, strict=True)
        self._runs = [run for group, weights in pairs for run in _joined_runs(group, weights, states)]
        every = (one for group in self._optimizer.param_groups for one in group["params"])
        self._idle = [one for one in every if not states.get(one)]
        return True


@dataclass(frozen=True, eq=False, slots=True)
class _Run:
    """Parameters of a group that lie one behind the other, and all of which move."""

    group: Mapping[str, Any]  # the optimizer's: rates are read in each step
    parameters: Sequence[nn.Parameter]
    weights: Tensor
    moments: Sequence[Tensor]
    counts: Tensor  # steps of each parameter, all alike

    def step(self, gradient: Tensor, bad: Tensor, *, decoupled: bool) -> None:
        group, kernel = (
            self.group,
            torch._fused_adamw_ if decoupled else torch._fused_adam_,
        )  # what torch's own optimizers call
        self.counts.add_(1)
        kernel(
            [self.weights],
            [gradient],
            [self.moments[0]],
            [self.moments[1]],
            [],
            [self.counts[0]],
            lr=group["lr"],
            beta1=float(group["betas"][0]),
            beta2=float(group["betas"][1]),
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
            grad_scale=None,
            found_inf=bad,
        )
        self.counts.sub_(bad)


def _alike(parameters: Sequence[nn.Parameter]) -> bool:
    return len({(one.dtype, one.device) for one in parameters}) == 1


@torch.no_grad()
def _joined_weights(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return all parameters one behind the other, and make them views of it."""
    weights = torch.cat([one.reshape(-1) for one in parameters])
    for one, part in zip(parameters, _parts(weights, parameters), strict=True):
        one.data = part
    return weights


def _joined_runs(group: Mapping[str, Any], weights: Tensor, states: Mapping[Any, dict[str, Any]]) -> Iterator[_Run]:
    """Give the runs of a group's parameters that have a state, and make this state views of what is joined."""
    places = zip(group["params"], _bounds(group["params"]), strict=True)
    for moves, several in groupby(places, key=lambda place: bool(states.get(place[0]))):
        parameters, bounds = zip(*several, strict=True)
        if moves:
            own = [states[one] for one in parameters]
            moments = [_joined_moment(parameters, own, name) for name in _MOMENTS]
            counts = torch.stack([values["step"] for values in own])
            for values, count in zip(own, counts.unbind(), strict=True):
                values["step"] = count
            yield _Run(group, parameters, weights[bounds[0][0] : bounds[-1][1]], moments, counts)


def _joined_gradient(parameters: Sequence[nn.Parameter], grads: Sequence[Tensor | None]) -> Tensor:
    """Return gradients one behind the other; a missing one is zero."""
    pairs = zip(parameters, grads, strict=True)
    return torch.cat([(torch.zeros_like(one) if grad is None else grad).reshape(-1) for one, grad in pairs])


def _joined_moment(parameters: Sequence[nn.Parameter], states: Sequence[dict[str, Any]], name: str) -> Tensor:
    joined = torch.cat([values[name].reshape(-1) for values in states])
    for values, part in zip(states, _parts(joined, parameters), strict=True):
        values[name] = part
    return joined


def _parts(joined: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return views of a buffer in the shapes of the parameters."""
    pairs = zip(parameters, _bounds(parameters), strict=True)
    return [joined[start:stop].view(one.shape) for one, (start, stop) in pairs]


def _bounds(parameters: Sequence[nn.Parameter]) -> list[tuple[int, int]]:
    """Return where each parameter begins and ends when they stand one behind the other."""
    found, start = [], 0
    for one in parameters:
        found.append((start, start + one.numel()))
        start += one.numel()
    return found
