"""The largest singular values of a large matrix, much faster than all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from loracore.weights.singular import Singular, of_change

#: Columns of the sketch beyond the rank, at least, and rounds of subspace iteration: with these the factors leave out
#: at most 1 % more than the best of their rank do, on spectra that fall as slowly as noise does.
_MORE, _ROUNDS = 16, 4
_WORTH = 4  # as many times the sketch's width; a smaller matrix is decomposed whole in the same time


def largest(change: Tensor, rank: int) -> Singular:
    """Return the decomposition of a change (outputs, inputs[, k, k]) with its ``rank`` largest singular values.

    Matrices much larger than the rank go through a randomised range finder (Halko, Martinsson and Tropp 2011, arXiv
    0909.4061, algorithm 4.4), whose random numbers are always the same; others are decomposed whole.
    """
    matrix = change.float().flatten(1)
    width = rank + max(rank, _MORE)
    if min(matrix.shape) < _WORTH * width:
        return _cut(of_change(change), rank)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrix.shape[1], width, generator=generator).to(matrix.device)
    basis = _orthonormal(matrix @ start)
    for _ in range(_ROUNDS):
        basis = _orthonormal(matrix @ _orthonormal(matrix.T @ basis))
    left, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return _cut(Singular(basis @ left, values, right, tuple(change.shape)), rank)


def squared_norms(change: Tensor, up: Tensor, down: Tensor) -> tuple[float, float]:
    """Return ‖change‖² and ‖change - up · down‖² (Frobenius)."""
    whole = change.float().flatten(1)
    return _squared_norm(whole), _squared_norm(torch.addmm(whole, up.flatten(1), down.flatten(1), alpha=-1))


def _squared_norm(matrix: Tensor) -> float:
    """Return ‖matrix‖²: rows in its own precision, their sum in float64; no tensor of the matrix's size is made."""
    return float(torch.linalg.vector_norm(matrix, dim=1).double().square().sum())


def _orthonormal(columns: Tensor) -> Tensor:
    basis: Tensor = torch.linalg.qr(columns)[0]
    return basis


def _cut(found: Singular, rank: int) -> Singular:
    return Singular(found.left[:, :rank], found.values[:rank], found.right[:rank], found.shape)
