"""Frozen weights stored in 8 bits: cast for each product, and once more in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from loracore.memory.quantised.linear import stored_tensors

#: The only kind that model files use: 4 bits of exponent, 3 of mantissa, ±448, no infinities (arXiv 2209.05433).
FLOAT8 = torch.float8_e4m3fn

#: What a weight is stored in otherwise.
_WIDER = frozenset({torch.float32, torch.float16, torch.bfloat16})


def linear_layers(modules: Iterable[nn.Module]) -> Iterator[nn.Linear]:
    """Give the plain Linear layers inside; kinds derived from it may compute in ways of their own."""
    for module in modules:
        yield from (layer for layer in module.modules() if type(layer) is nn.Linear)


def store_weights(layers: Iterable[nn.Linear]) -> None:
    """Store the weights as float8_e4m3fn, a plain cast without scale, whatever precision of 16 or 32 bits they have.

    That is also for those which an architecture keeps in float32: the precision of what comes in decides over overflow.
    """
    for layer in layers:
        if layer.weight.dtype in _WIDER:
            layer.weight.data = layer.weight.data.to(FLOAT8)


def compute_in_input_dtype(module: nn.Module, layers: Iterable[nn.Linear], dtype: torch.dtype) -> None:
    """Let every one of the layers whose weight is float8_e4m3fn compute in the precision of what comes in.

    Whatever else of the module is stored so (norms, embeddings, biases of a float8 file) is cast to ``dtype``.
    """
    stored = [layer for layer in layers if layer.weight.dtype == FLOAT8]
    kept = {id(tensor) for tensor in (*(layer.weight for layer in stored), *stored_tensors(module))}
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.dtype == FLOAT8 and id(tensor) not in kept:
            tensor.data = tensor.data.to(dtype)
    for layer in stored:
        shadowed = partial(_linear, layer)
        layer.forward = shadowed  # type: ignore[method-assign]  # as adapters do, which come after


def _linear(layer: nn.Linear, inputs: Tensor) -> Tensor:
    if inputs.dtype == FLOAT8:
        message = "activations were cast to float8: the module around this layer follows the dtype of its weight"
        raise TypeError(message)
    output: Tensor = _CastLinear.apply(inputs, layer.weight, layer.bias)  # type: ignore[no-untyped-call]  # torch's own
    return output


class _CastLinear(torch.autograd.Function):
    """A Linear over frozen tensors that keeps its weight as it is stored; torch's own would keep the cast one."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Among the saved tensors, never an attribute: a checkpoint forgets it and finds it again, wherever it is then.
        ctx.save_for_backward(weight)
        bias = bias if bias is None else bias.to(inputs.dtype)
        return functional.linear(inputs, weight.to(inputs.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ weight.to(gradients[0].dtype), None, None
