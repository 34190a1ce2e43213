"""Adam and AdamW over flat buffers: one kernel for all parameters of a group, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors  # one call for thousands of tensors, as torch's own DDP uses
from torch.optim import Adam, AdamW, Optimizer

#: Where a parameter begins in a buffer is a multiple of so many numbers: kernels read whole words of 32 bytes or more.
_ALIGNED = 16


class FlatAdam:
    """Steps torch's fused Adam or AdamW over everything at once; small tensors cost a launch each otherwise.

    The parameters of each group become views of one buffer when this is made, the optimizer's moments and counts after
    its first step, so that files, states and averages find them where they were. The arithmetic is torch's own kernel,
    element by element. Whoever puts another tensor into a parameter (``one.data = …``), or gives the optimizer another
    state or more groups, is noticed before the next step.

    A parameter without a gradient is not one whose gradient is zero: it neither decays nor counts a step. So whenever
    others have gradients than in the step before, the optimizer steps by itself, and as long as their counts differ.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._groups: Sequence[_Group] = ()
        self._state: Mapping[Any, Any] = {}  # the optimizer's, of which moments and counts were joined
        self._joined = False
        self._first = False  # the step to come is the first of all
        self._apart = False  # parameters have come to different counts of steps
        self.forget()

    @staticmethod
    def fits(optimizer: Optimizer) -> bool:
        """Tell whether an optimizer can be stepped like this: torch's own, fused, of one dtype and device a group."""
        return type(optimizer) in {Adam, AdamW} and all(
            group["fused"] and not group["amsgrad"] and not isinstance(group["lr"], Tensor) and _alike(group["params"])
            for group in optimizer.param_groups
        )

    @property
    def joined(self) -> bool:
        """Tell whether moments and counts lie in buffers now."""
        return self._joined

    def forget(self) -> None:
        """Begin anew: the optimizer has been given other moments and counts, or other groups."""
        self._joined = self._first = False
        self._apart = not self.fits(self._optimizer)
        self._state = self._optimizer.state
        self._groups = () if self._apart else [_Group(group) for group in self._optimizer.param_groups]

    def gradients(self, *, zeros: bool) -> list[Tensor] | None:
        """Return all gradients, joined, and take them from the parameters; None: the optimizer must step by itself.

        With ``zeros`` a missing gradient counts as zero: another process may have it. All processes get None alike.
        """
        if self._replaced():
            self.forget()
        if self._apart or self._watched() or not (self._joined or self._join()):
            return None
        idle = [one for group in self._groups for one in group.idle]
        moving = (one.grad for group in self._groups for run in group.runs for one in run.parameters)
        if idle if zeros else any(grad is None for grad in moving) or any(one.grad is not None for one in idle):
            self._joined = False
            return None
        for group in self._groups:
            group.settle()
        return [run.taken_gradient() for group in self._groups for run in group.runs]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], bad: Tensor) -> None:
        """Step with what ``gradients`` gave; where ``bad`` (0 or 1, on the device) is 1 nothing changes."""
        runs = ((group, run) for group in self._groups for run in group.runs)
        for (group, run), gradient in zip(runs, gradients, strict=True):
            run.step(group.options, group.weights, gradient, bad)

    def _replaced(self) -> bool:
        """Tell whether the optimizer has other groups, or another state, than those that were joined."""
        groups = self._optimizer.param_groups
        known = len(groups) == len(self._groups) and all(
            own.options is group for own, group in zip(self._groups, groups, strict=True)
        )
        return self._optimizer.state is not self._state or not (known or self._apart)

    def _watched(self) -> bool:
        """Tell whether somebody wants to be called when the optimizer steps."""
        own = vars(self._optimizer)
        return bool(own["_optimizer_step_pre_hooks"] or own["_optimizer_step_post_hooks"] or "step" in own)

    def _join(self) -> bool:
        """Join moments and counts; tell whether that is possible: the optimizer has stepped, and counts are alike."""
        counts = [values["step"].float() for values in self._state.values() if values]
        if not counts:
            self._first = True
            return False
        # After the first of all steps nothing need be read. Otherwise, rarely, the host waits.
        self._apart = not self._first and bool((torch.stack(counts) != counts[0]).any())
        self._first = False
        if not self._apart:
            for group in self._groups:
                group.join(self._state)
        self._joined = not self._apart
        return self._joined


class _Group:
    """The parameters of one of the optimizer's groups, one behind the other."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options  # the optimizer's own: rates are read in each step
        self.parameters: Sequence[nn.Parameter] = options["params"]
        self.runs: Sequence[_Run] = ()  # what moves
        self.idle: Sequence[nn.Parameter] = ()  # never had a gradient
        self._join_weights()

    def settle(self) -> None:
        """Have the parameters lie in the buffer: somebody may have put other tensors into them."""
        if [one.data_ptr() for one in self.parameters] != self._places:
            self._join_weights()

    def join(self, states: Mapping[Any, dict[str, Any]]) -> None:
        """Join moments and counts of those that have a state, and make this state views of what is joined."""
        places = zip(self.parameters, _bounds(self.parameters), strict=True)
        several = [
            (moves, list(found)) for moves, found in groupby(places, key=lambda place: bool(states.get(place[0])))
        ]
        self.runs = [
            _Run([one for one, _ in found], slice(found[0][1].start, found[-1][1].start + _room(found[-1][0])), states)
            for moves, found in several
            if moves
        ]
        self.idle = [one for moves, found in several if not moves for one, _ in found]

    @torch.no_grad()
    def _join_weights(self) -> None:
        self.weights = _one_behind_the_other(self.parameters)
        for one, part in zip(self.parameters, _parts(self.weights, self.parameters), strict=True):
            one.data = part
        self._places = [one.data_ptr() for one in self.parameters]


class _Run:
    """Parameters that lie one behind the other, and all of which move."""

    def __init__(self, parameters: Sequence[nn.Parameter], where: slice, states: Mapping[Any, dict[str, Any]]) -> None:
        self.parameters = parameters
        self._where = where  # in the group's buffer
        own = [states[one] for one in parameters]
        self._moments = [_joined_moment(parameters, own, name) for name in ("exp_avg", "exp_avg_sq")]
        self._counts = torch.stack([values["step"] for values in own])  # all alike
        for values, count in zip(own, self._counts.unbind(), strict=True):
            values["step"] = count

    def taken_gradient(self) -> Tensor:
        """Return the gradients one behind the other, a missing one as zeros; the parameters have none any more."""
        taken = []
        for one in self.parameters:
            grad, one.grad = one.grad, None
            taken.append(torch.zeros_like(one) if grad is None else grad)
        return _one_behind_the_other(taken)

    def step(self, options: Mapping[str, Any], weights: Tensor, gradient: Tensor, bad: Tensor) -> None:
        """Step these parameters, unless ``bad`` is 1."""
        kernel = torch._fused_adamw_ if options["decoupled_weight_decay"] else torch._fused_adam_  # torch's own call
        self._counts.add_(1)
        kernel(
            [weights[self._where]],
            [gradient],
            [self._moments[0]],
            [self._moments[1]],
            [],
            [self._counts[0]],
            lr=options["lr"],
            beta1=float(options["betas"][0]),
            beta2=float(options["betas"][1]),
            weight_decay=options["weight_decay"],
            eps=options["eps"],
            amsgrad=False,
            maximize=options["maximize"],
            grad_scale=None,
            found_inf=bad,
        )
        self._counts.sub_(bad)


def _alike(parameters: Sequence[nn.Parameter]) -> bool:
    return len({(one.dtype, one.device) for one in parameters}) == 1


def _joined_moment(parameters: Sequence[nn.Parameter], states: Sequence[dict[str, Any]], name: str) -> Tensor:
    joined = _one_behind_the_other([values[name] for values in states])
    for values, part in zip(states, _parts(joined, parameters), strict=True):
        values[name] = part
    return joined


def _one_behind_the_other(tensors: Sequence[Tensor]) -> Tensor:
    """Return a buffer of all tensors; what lies between two is 0, and Adam leaves it so."""
    pieces = [piece for one in tensors for piece in (one, _gap(one)) if piece is not None]
    if len(pieces) == 1:  # of which that call would make a view
        return pieces[0].flatten().clone()
    joined: Tensor = _flatten_dense_tensors(pieces)  # type: ignore[no-untyped-call]  # torch's own
    return joined


def _gap(tensor: Tensor) -> Tensor | None:
    missing = -tensor.numel() % _ALIGNED
    return tensor.new_zeros(missing) if missing else None


def _parts(joined: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return views of a buffer in the shapes of the parameters."""
    return [joined[where].view(one.shape) for one, where in zip(parameters, _bounds(parameters), strict=True)]


def _bounds(parameters: Sequence[nn.Parameter]) -> Iterator[slice]:
    """Give where each parameter lies when they stand one behind the other."""
    start = 0
    for one in parameters:
        yield slice(start, start + one.numel())
        start += _room(one)


def _room(tensor: Tensor) -> int:
    """Return how many numbers a tensor takes in a buffer."""
    return tensor.numel() + -tensor.numel() % _ALIGNED
