"""Norms of queries and keys by their root mean square: the same formula, in fewer passes, and little is kept."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.normalization import RMSNorm
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def normed(norm: Any, states: Tensor) -> Tensor:
    """Return what a norm makes of the states (…,d); None leaves them as they are.

    diffusers' RMSNorm is computed here where it has a weight alone, frozen, in the precision of the states. All others,
    and those that something is put in front of or hooked to, are called as they are. torch's own operation serves
    compiled code alone, where it becomes a part of another kernel: on CUDA it would give every row of so few numbers
    (d = 64) a block of threads of its own, and elsewhere it is taken apart and keeps all that lies between.
    """
    if norm is None:
        return states
    if not _is_plain(norm, states):
        called: Tensor = norm(states)
        return called
    if torch.compiler.is_compiling():
        return functional.rms_norm(states, norm.dim, norm.weight, norm.eps)
    found: Tensor = _RootMeanSquare.apply(states, norm.weight, norm.eps)  # type: ignore[no-untyped-call]  # torch's own
    return found


def _is_plain(norm: Any, states: Tensor) -> bool:
    """Tell whether a norm is the bare formula, over the last dimension, in the precision of the states."""
    if type(norm) is not RMSNorm or "forward" in vars(norm) or norm.bias is not None:
        return False
    if norm._forward_hooks or norm._forward_pre_hooks:  # noqa: SLF001  # torch asks the same, and gives no other way
        return False
    weight = norm.weight
    if weight is None or weight.requires_grad:
        return False
    # A weight of another precision makes the result one of another precision, too.
    return bool(norm.dim == states.shape[-1:] and weight.dtype == states.dtype)


class _RootMeanSquare(torch.autograd.Function):
    """x · r · w with r = 1 / √(mean x² + ε) (Zhang and Sennrich 2019, arXiv 1910.07467, equation 4).

    Kept are x, r (one number a row) and w. With u = gradient · w and y = x · r, x gets r · (u - y · mean(u · y)).
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        exact = torch.float64 if states.dtype == torch.float64 else torch.float32
        lengths = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=exact)
        # ε + x² / d, in one operation.
        inverse = torch.rsub(lengths.square_(), eps, alpha=-1 / states.shape[-1]).rsqrt_()
        ctx.save_for_backward(states, inverse, weight)
        return torch.mul(states, inverse, out=torch.empty_like(states)).mul_(weight)

    @staticmethod
    @once_differentiable  # what is changed in place cannot be followed
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        states, inverse, weight = ctx.saved_tensors
        # Laid out as the states, whatever the gradient's layout is.
        found = torch.mul(gradient, weight, out=torch.empty_like(states))
        scaled = torch.mul(states, inverse, out=torch.empty_like(states))  # at most √d: products stay small in float16
        along = (found * scaled).sum(-1, keepdim=True, dtype=inverse.dtype)
        return found.addcmul_(scaled, along, value=-1 / states.shape[-1]).mul_(inverse), None, None
