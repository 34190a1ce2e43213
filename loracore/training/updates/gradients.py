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
            self.scale.unscale([grad for parameter in self.parameters if (grad := parameter.grad) is not None])
        return self._clipped([grad for parameter in self.parameters if (grad := parameter.grad) is not None])

    def reduce_and_clip_joined(self, joined: Sequence[Tensor]) -> Tensor:
        """Do the same, in place, with all gradients, joined in buffers; none is missing there."""
        if self.processes.count > 1:
            flat = self.processes.sum(torch.cat(list(joined)))
            torch._foreach_copy_(list(joined), torch.split(flat, [len(one) for one in joined]))
        if self.scale is not None:
            self.scale.unscale(joined)
        return self._clipped(joined)

    def zero(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def _clipped(self, grads: Sequence[Tensor]) -> Tensor:
        """Return the norm of gradients, and scale them down in place where it is above ``max_norm``.

        The factor is that of torch's ``clip_grad_norm_``, which multiplies by 1, too: asking would make the host wait.
        """
        norm = _total_norm(grads)
        if self.max_norm and grads:
            factor = (self.max_norm / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(list(grads), factor)
        return norm

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
