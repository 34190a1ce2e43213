"""A frozen Linear whose weight is stored in fewer bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map_only  # diffusers and transformers stand on it too

from loracore.memory.quantised.forms import Form, Read


@dataclass(frozen=True, slots=True)
class Original:
    """What is remembered of a weight that was stored in fewer bits."""

    shape: tuple[int, ...]  # out, in
    dtype: torch.dtype  # that it is read in where nobody asks for another
    nbytes: int
    relative_error: float  # |W - stored W| / |W| (Frobenius); 0 on the meta device, where there are no numbers


class QuantisedLinear(nn.Linear):
    """A Linear that keeps its weight as it is stored, in buffers: neither a wide copy nor a parameter is left of it.

    Not a parameter, because a module's dtype is often asked of its first one.
    """

    form: Form
    original: Original

    @staticmethod
    def become(layer: nn.Linear, form: Form, stored: Sequence[Tensor], original: Original) -> None:
        """Turn a Linear into this, in its place: whoever holds the layer, holds it still.

        That the class of a module is changed for another is what torch.nn.utils.parametrize does, too.
        """
        del layer.weight
        layer.__class__ = QuantisedLinear
        assert isinstance(layer, QuantisedLinear)
        layer.form, layer.original = form, original
        for name, tensor in zip(form.parts, stored, strict=True):
            layer.register_buffer(name, tensor, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs · W + bias in the precision of the inputs (…, in)."""
        output: Tensor = _Product.apply(  # type: ignore[no-untyped-call]  # torch's own
            inputs, self.bias, self.form.read, self.original.shape, *self.stored
        )
        return output

    @property
    def stored(self) -> tuple[Tensor, ...]:
        """The tensors that the weight is stored in."""
        return tuple(getattr(self, name) for name in self.form.parts)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # nobody may put another in its place
        """The weight as it is stored, in the dtype that it had; its numbers are read when somebody asks for them."""
        return self.read() if torch.compiler.is_compiling() else _Weight(self)

    def read(self) -> Tensor:
        """Return the weight's numbers (out, in) in the dtype that it had."""
        return self.form.read(self.stored, self.original.shape, self.original.dtype)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:  # noqa: FBT001  # torch's
        """Name the weight as any Linear does: a model's names in files are made from its state."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight


def quantised_layers(module: nn.Module) -> Iterator[tuple[str, QuantisedLinear]]:
    """Give the layers inside that are stored in fewer bits, by their names."""
    return ((name, one) for name, one in module.named_modules() if isinstance(one, QuantisedLinear))


def stored_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Give the tensors that weights inside are stored in, where that is in fewer bits."""
    for _, layer in quantised_layers(module):
        yield from layer.stored


class _Weight(Tensor):
    """What stands for a stored weight: shape, dtype and device are at hand, its numbers are read for every operation.

    Adapters ask every layer for its shape, few of them for its numbers. Writing into it is an error.
    """

    _layer: QuantisedLinear

    def __new__(cls, layer: QuantisedLinear) -> _Weight:  # noqa: PYI034  # nothing is derived from it
        original, device = layer.original, layer.stored[0].device
        made = Tensor._make_wrapper_subclass  # noqa: SLF001  # torch's own way to make a tensor of no numbers
        found: _Weight = made(cls, original.shape, dtype=original.dtype, device=device)
        found._layer = layer
        return found

    # torch's own way to want dispatch alone
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # noqa: SLF001

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # as torch calls it
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what is asked with the numbers."""
        if any(isinstance(one, _Weight) for one in _written(func, args, kwargs or {})):
            message = f"{func}: this weight is stored in fewer bits, and cannot be written to"
            raise TypeError(message)
        return func(*tree_map_only(_Weight, _read, tuple(args)), **tree_map_only(_Weight, _read, dict(kwargs or {})))


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """Give what an operation writes into."""
    for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001  # there is no other way to ask
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tree_leaves(args[place] if place < len(args) else kwargs.get(argument.name))


def _read(weight: _Weight) -> Tensor:
    return weight._layer.read()  # noqa: SLF001  # of this file


class _Product(torch.autograd.Function):
    """A Linear over a stored weight, which is read in both directions; torch's own would keep the wide one."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, bias: Tensor | None, read: Read, shape: Sequence[int], *stored: Tensor
    ) -> Tensor:
        # Among the saved tensors, never attributes: a checkpoint forgets them and finds them again, wherever they are.
        ctx.save_for_backward(*stored)
        ctx.read, ctx.shape = read, shape
        bias = bias if bias is None else bias.to(inputs.dtype)
        return functional.linear(inputs, read(stored, shape, inputs.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (wants_inputs, wants_bias, *others) = gradients, ctx.needs_input_grad
        inputs = bias = None
        if wants_inputs:  # saved tensors are asked for once: a checkpoint gives them once
            inputs = gradient @ ctx.read(ctx.saved_tensors, ctx.shape, gradient.dtype)
        if wants_bias:
            bias = gradient.reshape(-1, gradient.shape[-1]).sum(0)
        return inputs, bias, *(None for _ in others)
