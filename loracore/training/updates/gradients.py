"""The gradients of one optimizer step: summed over processes, measured, clipped, and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loracore.training.processes import Processes
from loracore.training.updates.loss_scale import LossScale


@dataclass(frozen=True, eq=False, slots=True)
class Gradients:
    """The gradients of the trained parameters, on their device; nothing here makes the host wait."""

    parameters: Sequence[nn.Parameter]
    processes: Processes
    max_norm: float  # 0: never clipped
    scale: LossScale | None = None  # fp16 only

    def reduce_and_clip(self) -> Tensor:
        """Sum the gradients over all processes, clip them, and return their norm before clipping (device tensor).

        One flat all-reduce. A gradient that this process lacks counts as zero there: another may have it.
        """
        if self.processes.count > 1:
            self._reduce()
        if self.scale is not None:
            self.scale.unscale(self.parameters)
        found = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = _total_norm(found)
        if self.max_norm:
            nn.utils.clip_grads_with_norm_(self.parameters, self.max_norm, norm)
        return norm

    def zero(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def _reduce(self) -> None:
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in self.parameters]
        flat = self.processes.sum(torch.cat([grad.flatten() for grad in grads]))
        parts = torch.split(flat, [grad.numel() for grad in grads])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)


def _total_norm(grads: Sequence[Tensor]) -> Tensor:
    """Return the norm of all gradients; in float32 also of halves, whose own sums would be coarse or overflow."""
    if all(grad.dtype == torch.float32 for grad in grads):
        return nn.utils.get_total_norm(grads)
    norms = [torch.linalg.vector_norm(grad, dtype=torch.float32) for grad in grads]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total
