"""How gradients become a step of the optimizer: all at once, when the last of them is there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from loracore.training.updates.gradients import Gradients
from loracore.training.updates.optimizers import step_unless_bad


@dataclass(frozen=True, eq=False, slots=True)
class Applied:
    """What became of a step, on the device."""

    grad_norm: Tensor  # before clipping
    bad: Tensor  # 1 when loss or gradient was not finite, else 0


@dataclass(frozen=True, eq=False, slots=True)
class Updates:
    """Adds up gradients and steps the optimizer with them, or leaves everything as it is when they are bad."""

    optimizer: Optimizer
    gradients: Gradients

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a micro-batch's loss."""
        scale = self.gradients.scale
        (loss if scale is None else scale.scaled(loss)).backward()  # type: ignore[no-untyped-call]  # torch's own

    def apply(self, loss: Tensor) -> Applied:
        """Step with what has been added up and forget it; ``loss`` is that of the whole step."""
        grad_norm = self.gradients.reduce_and_clip()
        bad = (~torch.isfinite(grad_norm + loss)).float()
        step_unless_bad(self.optimizer, bad)
        if self.gradients.scale is not None:
            self.gradients.scale.update(bad)
        self.gradients.zero()
        return Applied(grad_norm, bad)
