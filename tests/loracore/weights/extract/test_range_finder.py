"""The largest singular values of large matrices, against all of them."""

from __future__ import annotations

import pytest
import torch

from loracore.weights.extract.range_finder import largest, squared_norms
from loracore.weights.singular import of_change


@pytest.mark.parametrize("fall", [0.0, 1.0])
def test_factors_leave_out_hardly_more_than_the_best(fall: float) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(300, 500), full_matrices=False)
    noise = torch.randn(300, 500).svd().S
    change = left * (noise * torch.arange(1, 301) ** -fall) @ right
    whole, found = squared_norms(change, *largest(change, 8).factors(8))
    _, best = squared_norms(change, *of_change(change).factors(8))
    assert whole == pytest.approx(float(change.square().sum()))
    assert found**0.5 <= 1.01 * best**0.5


def test_a_change_of_that_rank_is_kept_whole() -> None:
    torch.manual_seed(0)
    change = (torch.randn(300, 4) @ torch.randn(4, 40 * 9)).view(300, 40, 3, 3)
    up, down = largest(change, 4).factors(4)
    assert (up.shape, down.shape) == ((300, 4, 1, 1), (4, 40, 3, 3))
    whole, left_out = squared_norms(change, up, down)
    assert left_out <= 1e-10 * whole


def test_the_answer_is_the_same_every_time() -> None:
    change = torch.randn(300, 300)
    first, second = (largest(change, 4) for _ in range(2))
    assert torch.equal(first.left, second.left)


def test_small_matrices_are_decomposed_whole() -> None:
    torch.manual_seed(0)
    change = torch.randn(20, 30)
    assert torch.equal(largest(change, 6).values, of_change(change).values[:6])
