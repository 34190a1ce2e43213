"""The course of the learning rate: factors on every group's rate, by optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer


def schedule_factor(name: str, warmup: int, steps: int) -> Callable[[int], float]:
    """Return the factor in force before each optimizer step (0-based), for a run of ``steps`` steps.

    After ``warmup`` steps of linear rise: constant 1, or half a cosine down to 0 (Loshchilov and Hutter 2017, arXiv
    1608.03983, equation 5 with one period).
    """
    shapes: dict[str, Callable[[float], float]] = {
        "constant": lambda _: 1.0,
        "constant_with_warmup": lambda _: 1.0,
        "cosine": lambda done: max(0.0, 0.5 * (1 + math.cos(math.pi * done))),
    }
    shape = shapes[name]

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return shape((step - warmup) / max(1, steps - warmup))

    return factor


def warmup_steps(given: float, steps: int) -> int:
    """Return the warm-up in optimizer steps; a number below 1 is a share of all steps."""
    return int(given * steps) if 0 < given < 1 else int(given)


class Schedule:
    """Sets every group's learning rate for the step that comes."""

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
        self._optimizer = optimizer
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._factor = factor
        self._step = 0
        self._apply()

    def step(self) -> None:
        """Go on to the next optimizer step."""
        self._step += 1
        self._apply()

    def rates(self) -> dict[str, float]:
        """Return the learning rate in force, by group name."""
        return {str(group["name"]): float(group["lr"]) for group in self._optimizer.param_groups}

    def base_rates(self) -> dict[str, float]:
        """Return the learning rates that the factors apply to, by group name."""
        names = [str(group["name"]) for group in self._optimizer.param_groups]
        return dict(zip(names, self._rates, strict=True))

    def _apply(self) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._factor(self._step)
