"""Plain Linear layers that get the same inputs, with a low-rank change each, as one autograd function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Rows of a trainable matrix, or all of them."""

    matrix: nn.Parameter
    start: int
    stop: int

    @property
    def tensor(self) -> Tensor:
        """The rows: a view, or the parameter itself when they are all of it."""
        return rows_of(self.matrix, self.start, self.stop)


def rows_of(matrix: Tensor, start: int, stop: int) -> Tensor:
    """Return some rows, without a view where they are all of the matrix."""
    return matrix if start == 0 and stop == len(matrix) else matrix[start:stop]


@dataclass(frozen=True, eq=False, slots=True)
class LowRank:
    """What is added to a Linear layer's output: linear(linear(inputs, down), up) · scale, and nothing else."""

    down: Rows  # rank, inputs
    up: Sequence[Rows]  # outputs, rank: one below the other in the order of the layer's own rows
    scale: float


def low_rank_linears(
    inputs: Tensor, layers: Sequence[nn.Linear], down: Tensor, up: Tensor, scale: float
) -> tuple[Tensor, ...]:
    """Return what each of n layers makes of the inputs (…,in), its own low-rank change added: n times (…,out).

    ``up`` (n, out, rank); ``down`` (n · rank, in), or (rank, in) when one hidden state is for all of the layers; both
    in the precision of the inputs. Inputs and factors get gradients, the layers are frozen. Under torch.compile the
    same formula is written in operations of its own, which the compiler joins as it likes.
    """
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    if torch.compiler.is_compiling():
        return _spelled_out(inputs, weights, biases, down, up, scale)
    outputs: tuple[Tensor, ...] = _LowRankLinears.apply(inputs, down, up, scale, *weights, *biases)  # type: ignore[no-untyped-call]  # torch's own
    return outputs


def _spelled_out(
    inputs: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], down: Tensor, up: Tensor, scale: float
) -> tuple[Tensor, ...]:
    count, _, rank = up.shape
    hidden = functional.linear(inputs, down)
    several = torch.split(hidden, rank, dim=-1) if len(down) > rank else [hidden] * count
    places = zip(weights, biases, several, up.unbind(), strict=True)
    return tuple(
        functional.linear(inputs, weight, bias) + functional.linear(own, raising) * scale
        for weight, bias, own, raising in places
    )


class _LowRankLinears(torch.autograd.Function):
    """Keeps inputs, hidden states and factors for the backward pass: no output, and no weight that is not needed.

    Whatever is kept stands among the saved tensors, the frozen weights too: a checkpoint forgets them and finds them
    again, wherever a swapped block has them then.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, down: Tensor, up: Tensor, scale: float, *frozen: Any) -> tuple[Tensor, ...]:
        count, width, rank = up.shape
        weights, biases = frozen[:count], frozen[count:]
        rows = inputs.reshape(-1, inputs.shape[-1])  # M, in
        hidden = rows @ down.t()  # M, ranks
        ctx.scale, ctx.shape, ctx.separate = scale, inputs.shape, len(down) > rank
        if count == 1:
            output = functional.linear(rows, weights[0], biases[0])
            outputs = [output.addmm_(hidden, up[0].t(), alpha=scale)]
        else:
            by_layer = _by_layer(hidden, count) if ctx.separate else hidden.expand(count, *hidden.shape)
            stacked = _stacked(rows, weights, biases)
            outputs = list(stacked.baddbmm_(by_layer, up.transpose(1, 2), alpha=scale).unbind())
        of_inputs, of_down, of_up, *_ = ctx.needs_input_grad
        ctx.save_for_backward(
            inputs if of_down else None,
            hidden if of_up else None,
            down if of_inputs else None,
            up if of_inputs or of_down else None,
            *(weights if of_inputs else ()),
        )
        # No views for autograd, or nobody could change an output in place (`hidden += …`), as of any Linear layer.
        whole = torch.ops.aten._unsafe_view.default  # noqa: SLF001  # torch's own Linear ends with it
        shape = [*inputs.shape[:-1], width]
        return tuple([whole(output, shape) for output in outputs])

    @staticmethod
    @once_differentiable  # what is added in place cannot be followed
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, hidden, down, up, *weights = ctx.saved_tensors
        parts = [one.reshape(-1, one.shape[-1]) for one in gradients]  # M, out
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        of_hidden = None if up is None else _hidden_gradient(joined, up, ctx.scale, separate=ctx.separate)
        of_up = of_down = of_inputs = None
        if hidden is not None:
            of_up = _up_gradient(joined, hidden, len(parts), ctx.scale, separate=ctx.separate)
        if of_hidden is not None and inputs is not None:
            of_down = of_hidden.t() @ inputs.reshape(-1, inputs.shape[-1])
        if of_hidden is not None and weights:
            of_inputs = _input_gradient(parts, weights, of_hidden, down).view(ctx.shape)
        return of_inputs, of_down, of_up, None, *(None for _ in gradients), *(None for _ in gradients)


def _stacked(rows: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> Tensor:
    """Return the layers' own outputs (n, M, out): each lies in one piece, so that a bias costs no pass of its own."""
    stacked = rows.new_empty(len(weights), rows.shape[0], weights[0].shape[0])
    for output, weight, bias in zip(stacked.unbind(), weights, biases, strict=True):
        if bias is None:
            torch.mm(rows, weight.t(), out=output)
        else:
            torch.addmm(bias, rows, weight.t(), out=output)
    return stacked


def _hidden_gradient(joined: Tensor, up: Tensor, scale: float, *, separate: bool) -> Tensor:
    """Return the gradient of the hidden states (M, ranks); what is empty is ignored by beta = 0."""
    count, _, rank = up.shape
    if not separate:
        return joined.new_empty(len(joined), rank).addmm_(joined, up.reshape(-1, rank), beta=0, alpha=scale)
    found = joined.new_empty(len(joined), count * rank)
    _by_layer(found, count).baddbmm_(_by_layer(joined, count), up, beta=0, alpha=scale)
    return found


def _up_gradient(joined: Tensor, hidden: Tensor, count: int, scale: float, *, separate: bool) -> Tensor:
    """Return the gradient of the up factors (n, out, rank)."""
    width = joined.shape[1] // count
    if not separate:
        flat = joined.new_empty(count * width, hidden.shape[1])
        return flat.addmm_(joined.t(), hidden, beta=0, alpha=scale).view(count, width, -1)
    found = joined.new_empty(count, width, hidden.shape[1] // count)
    return found.baddbmm_(_by_layer(joined, count).transpose(1, 2), _by_layer(hidden, count), beta=0, alpha=scale)


def _input_gradient(parts: Sequence[Tensor], weights: Sequence[Tensor], of_hidden: Tensor, down: Tensor) -> Tensor:
    """Return the gradient of the inputs (M, in), added up in place."""
    found = parts[0] @ weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        found.addmm_(part, weight)
    return found.addmm_(of_hidden, down)


def _by_layer(joined: Tensor, count: int) -> Tensor:
    """Return (n, M, width) for what stands side by side (M, n · width): a view."""
    return joined.view(len(joined), count, -1).transpose(0, 1)
