"""Singular value decompositions of weight changes, and the low-rank factors that are left of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Singular:
    """A weight change as U · diag(S) · Vh, float32, S descending; convolutions flattened to (outputs, inputs·k·k)."""

    left: Tensor  # outputs, n
    values: Tensor  # n
    right: Tensor  # n, inputs[ · k · k]
    shape: tuple[int, ...]  # of the change: outputs, inputs[, k, k]

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return up = U · S (outputs, rank[, 1, 1]) and down = Vh (rank, inputs[, k, k]) of the largest values.

        Their product is the nearest to the change of that rank in the Frobenius norm (Eckart and Young 1936).
        """
        up = self.left[:, :rank] * self.values[:rank]
        up = up.reshape(*up.shape, *(1 for _ in self.shape[2:]))
        return up.contiguous(), self.right[:rank].reshape(-1, *self.shape[1:]).contiguous()

    def left_out(self, rank: int) -> float:
        """Return the share of the Frobenius norm that factors of this rank leave out, in [0, 1]."""
        whole = float(self.values.square().sum())
        return float((self.values[rank:].square().sum() / whole).sqrt()) if whole else 0.0


def of_change(change: Tensor) -> Singular:
    """Return the decomposition of a change (outputs, inputs[, k, k])."""
    left, values, right = torch.linalg.svd(change.float().flatten(1), full_matrices=False)
    return Singular(left, values, right, tuple(change.shape))


def of_product(up: Tensor, down: Tensor) -> Singular:
    """Return the decomposition of up (outputs, r[, 1, 1]) · down (r, inputs[, k, k]), never larger than its factors.

    With QR of both factors only an r × r matrix is decomposed: UD = Q₁ (R₁ R₂ᵀ) Q₂ᵀ.
    """
    first, upper = torch.linalg.qr(up.float().flatten(1))
    second, lower = torch.linalg.qr(down.float().flatten(1).T)
    left, values, right = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    return Singular(first @ left, values, right @ second.T, (len(up), *down.shape[1:]))
