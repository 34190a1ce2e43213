"""What Adafactor asks of a run: a course of its own rates, and step sizes for which the host need not wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class RelativeSteps:
    """The rates that Adafactor finds by itself, by optimizer step; nothing is set here.

    With scale_parameter they are relative to each tensor's own size (Shazeer and Stern 2018, arXiv 1804.04235,
    section 8: relative step sizes).
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._step = 0

    def step(self) -> None:
        """Go on to the next optimizer step."""
        self._step += 1

    def state(self) -> dict[str, Any]:
        """Return how many steps were taken."""
        return {"step": self._step}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._step = int(state["step"])

    def rates(self) -> dict[str, float]:
        """Return the relative step size in force, by group name."""
        return {str(group["name"]): _relative(group, self._step + 1) for group in self._optimizer.param_groups}

    def base_rates(self) -> dict[str, float]:
        """Return the largest relative step sizes, by group name."""
        return {str(group["name"]): _relative(group, 1) for group in self._optimizer.param_groups}


def catching_up(tried: Tensor, good: Tensor, decay: Tensor) -> Tensor:
    """Return how much of its new gradient each parameter's second moments lack; 0 where no step was bad.

    The step that is coming is counted in both. Its weight of the old moments is β(n) = 1 − n^decay (arXiv 1804.04235,
    section 7.2), which Adafactor takes of all steps, the bad ones too.
    """
    late, right = tried.pow(decay), good.pow(decay)
    return (right - late) / (1 - late).clamp(min=torch.finfo(late.dtype).tiny)  # the first of all: 0 of 0


def bring_up(state: Mapping[str, Tensor], gradient: Tensor, smallest: float, share: Tensor) -> None:
    """Mix ``share`` of the squared gradient into the second moments, in place.

    What Adafactor makes of them in its next step is then what it would have without any bad step: it wants
    β·m + (1 − β)·g² of the right β, and has but a β' ≥ β, so that the share is 1 − β/β'.
    """
    if not state:
        return  # its first step
    sizes = {"exp_avg_sq": None, "exp_avg_sq_row": -1, "exp_avg_sq_col": -2}
    for name in sizes.keys() & state.keys():
        found = _mean_square(gradient, sizes[name]) + smallest
        state[name].lerp_(found.to(state[name].dtype), share.to(state[name].dtype))


def step_size(group: dict[str, Any], state: Mapping[str, Any]) -> Any:
    """Return Adafactor's step size for one tensor as it computes it, but on the device: the host need not wait.

    ``max(eps, RMS)`` of a number and a tensor would ask the device for the tensor's.
    """
    size = _relative(group, state["step"]) if group["relative_step"] else group["lr"]
    if not group["scale_parameter"]:
        return size
    least = group["eps"][1]
    return torch.where(state["RMS"] > least, state["RMS"] * size, least * size)


def without_waiting(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer; Adafactor, whose own step sizes would make the host wait, with those of ``step_size``."""
    if type(optimizer).__module__ == "transformers.optimization":
        optimizer._get_lr = step_size  # type: ignore[attr-defined]  # noqa: SLF001  # the library's own method
    return optimizer


def _mean_square(gradient: Tensor, dim: int | None) -> Tensor:
    """Return the squares, or their mean along one dimension without a tensor of the gradient's size."""
    if dim is None:
        return gradient.float().square()
    norms: Tensor = torch.linalg.vector_norm(gradient, dim=dim, dtype=torch.float32)
    return norms.square() / gradient.shape[dim]


def _relative(group: dict[str, Any], step: int) -> float:
    """Return ρ of a step counted from 1."""
    limit = 1e-6 * step if group["warmup_init"] else 1e-2
    return float(min(limit, step**-0.5))
