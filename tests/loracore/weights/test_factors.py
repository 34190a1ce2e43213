from __future__ import annotations

import torch

from loracore.weights.factors import block_diagonal, diagonal_blocks, row_slices


def test_blocks_stand_on_the_diagonal_alone() -> None:
    blocks = [torch.ones(2, 1), torch.full((1, 2), 2.0)]
    assert block_diagonal(blocks).tolist() == [[1, 0, 0], [1, 0, 0], [0, 2, 2]]


def test_blocks_of_convolutions_keep_their_kernel() -> None:
    assert block_diagonal([torch.ones(2, 1, 1, 1), torch.ones(3, 1, 1, 1)]).shape == (5, 2, 1, 1)


def test_blocks_are_taken_apart_again() -> None:
    blocks = [torch.rand(2, 3), torch.rand(4, 3)]
    found = diagonal_blocks(block_diagonal(blocks), [2, 4])
    assert found is not None
    assert all(torch.equal(one, other) for one, other in zip(found, blocks, strict=True))


def test_what_stands_beside_the_diagonal_is_shared() -> None:
    assert diagonal_blocks(torch.ones(4, 4), [2, 2]) is None
    assert diagonal_blocks(torch.eye(4)[:, :3], [2, 2]) is None


def test_rows_follow_one_another() -> None:
    assert row_slices([2, 3]) == [slice(0, 2), slice(2, 5)]
