"""How gradients become a step of the optimizer: all at once, when the last of them is there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from loracore.training.updates.flat_adam import FlatAdam
from loracore.training.updates.gradients import Gradients
from loracore.training.updates.schedule_free import is_schedule_free, weights_to_read
from loracore.training.updates.step_guard import StepGuard


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
    flat: FlatAdam | None = None  # steps the optimizer over flat buffers where it can
    guard: StepGuard = field(default_factory=StepGuard)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a micro-batch's loss."""
        scale = self.gradients.scale
        (loss if scale is None else scale.scaled(loss)).backward()  # type: ignore[no-untyped-call]  # torch's own

    def apply(self, loss: Tensor) -> Applied:
        """Step with what has been added up and forget it; ``loss`` is that of the whole step."""
        joined = None if self.flat is None else self.flat.gradients(zeros=self.gradients.processes.count > 1)
        if self.flat is None or joined is None:
            grad_norm = self.gradients.reduce_and_clip()
            bad = (~torch.isfinite(grad_norm + loss)).float()
            self.guard.step(self.optimizer, bad)
            self.gradients.zero()
        else:  # `flat` has taken them: the optimizer's parameters are those of `gradients`
            grad_norm = self.gradients.reduce_and_clip_joined(joined)
            bad = (~torch.isfinite(grad_norm + loss)).float()
            self.flat.step(joined, bad)
        if self.gradients.scale is not None:
            self.gradients.scale.update(bad)
        return Applied(grad_norm, bad)

    def weights_to_read(self) -> AbstractContextManager[None]:
        """Have the parameters hold what is saved, shown and validated; schedule-free optimizers train others.

        Afterwards they are bit for bit what they were. A state that a run is resumed from is written outside of this.
        """
        return weights_to_read(self.optimizer) if is_schedule_free(self.optimizer) else nullcontext()

    def state(self) -> dict[str, Any]:
        """Return what changes over a run beside the optimizer: the loss scale of fp16."""
        scale = self.gradients.scale
        return {} if scale is None else {"scale": scale.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; the optimizer has its own state already."""
        if self.flat is not None:
            self.flat.forget()
        if self.gradients.scale is not None:
            self.gradients.scale.load(state["scale"])
