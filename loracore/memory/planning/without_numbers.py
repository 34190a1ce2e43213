"""Answers to operations that need numbers, for tensors that have none: the meta device's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ATEN = torch.ops.aten
_HEADED = 4  # dimensions of a query: B, heads, T, features
_ITEM = _ATEN._local_scalar_dense.default  # noqa: SLF001  # torch has no public name for it
_TO = _ATEN._to_copy.default  # noqa: SLF001  # as above


def answer_without_numbers(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return an answer where the meta device has none of its own, else NotImplemented.

    A number that is read is 0, a truth is true, so that what should be finite is. One place is not zero. What is copied
    to a device with numbers is 0 there.
    """
    first = args[0] if args else None
    if not isinstance(first, Tensor) or not (first.is_meta or func is _ATEN.copy_.default):
        return NotImplemented
    if func is _ITEM:
        return True if first.dtype == torch.bool else 0.0 if first.is_floating_point() else 0
    if func is _ATEN.nonzero.default:
        return first.new_zeros((1, first.dim()), dtype=torch.int64)
    return _copied(func, first, args, kwargs)


def _copied(func: Any, first: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return a copy on a device with numbers of what has none, else NotImplemented."""
    device = kwargs.get("device")
    if func is _TO and device is not None and torch.device(device).type != "meta":
        dtype = kwargs.get("dtype") or first.dtype
        return torch.zeros(first.shape, dtype=dtype, device=device)
    if func is _ATEN.copy_.default and not first.is_meta and args[1].is_meta:
        return first
    return NotImplemented


class AttentionWithoutScores(TorchFunctionMode):
    """Gives the meta device the attention that keeps no scores, as devices that train have it; its own keeps all."""

    def __torch_function__(  # torch's own
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one function of torch."""
        _, named = types, kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return _attention(*args, **named)
        return func(*args, **named)


def without_scores(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what ``forward`` returns with such an attention; torch switches modes off while it runs backward passes.

    So what is computed again there needs its own.
    """
    with AttentionWithoutScores():
        return forward(*args, **kwargs)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001, FBT002  # torch's signature
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if not query.is_meta or query.dim() != _HEADED or enable_gqa:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    mask = attn_mask.to(query.dtype) if attn_mask is not None and attn_mask.dtype == torch.bool else attn_mask
    # The CPU's kernel: what it keeps is what those of cards keep, and it takes every mask.
    kernel = _ATEN._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001  # torch has no public name for it
    answer: Tensor = kernel(query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale)[0]
    return answer
