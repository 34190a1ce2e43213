"""Up factors of fused layers: one for all of them, or a block of its own for each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor


def block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    """Return the up factor (sum of rows, sum of ranks[, 1, 1]) that has each layer's own (rows, rank[, 1, 1]) alone.

    Together with the layers' down factors, stacked, it changes the fused weight as the layers' pairs change theirs.
    """
    rows, ranks = [len(block) for block in blocks], [block.shape[1] for block in blocks]
    joined = blocks[0].detach().new_zeros(sum(rows), sum(ranks), *blocks[0].shape[2:])
    for block, *place in zip(blocks, row_slices(rows), row_slices(ranks), strict=True):
        joined[tuple(place)] = block.detach()
    return joined


def diagonal_blocks(up: Tensor, rows: Sequence[int]) -> list[Tensor] | None:
    """Return each layer's own block of an up factor, all of one rank; None where layers share a part of it."""
    rank, rest = divmod(up.shape[1], len(rows))
    if rest:
        return None
    places = list(zip(row_slices(rows), row_slices([rank] * len(rows)), strict=True))
    outside = up.detach().clone()
    for place in places:
        outside[place] = 0
    return None if outside.any() else [up[place] for place in places]


def row_slices(rows: Sequence[int]) -> list[slice]:
    """Return the rows of each of several tensors that stand one below the other."""
    return [slice(end - count, end) for count, end in zip(rows, accumulate(rows), strict=True)]
