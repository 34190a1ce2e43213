"""Factors of one or more layers as one matrix, in the precision of the layers: on the fly, or copied all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch._utils import _unflatten_dense_tensors  # one call for views of thousands of shapes, as torch's own DDP uses

from loracore.networks.low_rank import Rows, rows_of


@dataclass(eq=False, slots=True)
class Stack:
    """Rows of trainable matrices, one below the other, in a shape and a precision."""

    pieces: Sequence[Rows]
    shape: tuple[int, ...]  # what the rows are viewed as
    copy: Tensor | None = None  # while copies are kept

    @staticmethod
    def of(rows: Sequence[Rows], shape: tuple[int, ...]) -> Stack:
        """Return the stack of these rows; those that lie in a row already are one piece."""
        pieces: list[Rows] = []
        for one in rows:
            last = pieces[-1] if pieces else None
            if last is not None and last.matrix is one.matrix and last.stop == one.start:
                pieces[-1] = Rows(one.matrix, last.start, one.stop)
            else:
                pieces.append(one)
        return Stack(pieces, shape)

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        """What the rows are of, each once."""
        return list({id(one.matrix): one.matrix for one in self.pieces}.values())

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """Return the rows in this precision: what was copied, or a copy for this call alone, with a gradient."""
        if self.copy is not None and self.copy.dtype == dtype:
            return self.copy
        rows = [one.tensor for one in self.pieces]
        return (rows[0] if len(rows) == 1 else torch.cat(rows)).to(dtype).view(self.shape)


@dataclass(frozen=True, eq=False, slots=True)
class Copies:
    """Stacks that are copied at once: of one device, from one precision to another."""

    stacks: Sequence[Stack]
    dtype: torch.dtype
    matrices: Sequence[nn.Parameter]  # of each stack, one behind the other
    templates: Sequence[Tensor]  # of the stacks' shapes, without numbers

    @staticmethod
    def of(stacks: Iterable[tuple[Stack, torch.dtype]]) -> Iterator[Copies]:
        """Give the copies to make of stacks that are used in these precisions; none of what can be used as it is."""

        def alike(one: tuple[Stack, torch.dtype]) -> tuple[str, str, str]:
            first = one[0].pieces[0].matrix
            return str(first.device), str(first.dtype), str(one[1])

        needed = [
            (stack, dtype)
            for stack, dtype in stacks
            if len(stack.pieces) > 1 or stack.pieces[0].matrix.dtype != dtype  # otherwise a view does
        ]
        for _, found in groupby(sorted(needed, key=alike), alike):
            several = list(found)
            chosen = [stack for stack, _ in several]
            matrices = [matrix for stack in chosen for matrix in stack.matrices]
            templates = [torch.empty(stack.shape, device="meta") for stack in chosen]
            yield Copies(chosen, several[0][1], matrices, templates)


@contextmanager
def copied(several: Sequence[Copies]) -> Iterator[None]:
    """Let the stacks have their copies, for as long as this lasts; their gradients arrive all at once.

    It may be entered again inside: what was there before comes back. Where no gradients are wanted it serves on.
    """
    stacks = [stack for copies in several for stack in copies.stacks]
    if not torch.is_grad_enabled() and all(stack.copy is not None for stack in stacks):
        yield
        return
    before = [stack.copy for stack in stacks]
    try:
        for copies in several:
            made: tuple[Tensor, ...] = _Copied.apply(copies, *copies.matrices)  # type: ignore[no-untyped-call]  # torch's own
            for stack, copy in zip(copies.stacks, made, strict=True):
                stack.copy = copy
        yield
    finally:
        for stack, former in zip(stacks, before, strict=True):
            stack.copy = former


class _Copied(torch.autograd.Function):
    """One operation copies all rows, and one all gradients back into the precision of the matrices."""

    @staticmethod
    def forward(ctx: Any, copies: Copies, *matrices: nn.Parameter) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # a missing gradient is not a zero one
        ctx.copies = copies
        pieces = [one.tensor for stack in copies.stacks for one in stack.pieces]
        flat = torch.empty(sum(one.numel() for one in pieces), dtype=copies.dtype, device=matrices[0].device)
        torch._foreach_copy_(_unflatten(flat, pieces), pieces)
        made = _unflatten(flat, copies.templates)
        ctx.mark_non_differentiable(
            *(
                one
                for stack, one in zip(copies.stacks, made, strict=True)
                if not any(matrix.requires_grad for matrix in stack.matrices)
            )
        )
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        arrived = [(stack, one) for stack, one in zip(ctx.copies.stacks, gradients, strict=True) if one is not None]
        found = iter(_spread(arrived))
        several: list[Tensor | None] = []
        for stack, gradient in zip(ctx.copies.stacks, gradients, strict=True):
            several += [None if gradient is None else next(found) for _ in stack.matrices]
        return None, *several


def _spread(arrived: Sequence[tuple[Stack, Tensor]]) -> Sequence[Tensor]:
    """Return the gradients of the stacks' matrices, one behind the other; rows that no stack has get zeros."""
    if not arrived:
        return ()
    matrices = [matrix for stack, _ in arrived for matrix in stack.matrices]
    lengths = sum(len(matrix) for matrix in matrices)
    taken = sum(one.stop - one.start for stack, _ in arrived for one in stack.pieces)
    make = torch.empty if taken == lengths else torch.zeros
    flat = make(sum(one.numel() for one in matrices), dtype=matrices[0].dtype, device=matrices[0].device)
    found = _unflatten(flat, matrices)
    targets: list[Tensor] = []
    sources: list[Tensor] = []
    waiting = iter(found)
    for stack, gradient in arrived:
        own = {id(matrix): next(waiting) for matrix in stack.matrices}
        targets += [rows_of(own[id(one.matrix)], one.start, one.stop) for one in stack.pieces]
        sources += gradient.flatten(0, -2).split_with_sizes([one.stop - one.start for one in stack.pieces])
    torch._foreach_copy_(targets, sources)
    return found


def _unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return views of a buffer in the shapes of these tensors, one behind the other."""
    views: list[Tensor] = _unflatten_dense_tensors(flat, like)  # type: ignore[no-untyped-call]  # torch's own
    return list(views)
