"""Low-rank factors are the nearest of their rank, whether the change or a product that gives it is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from loracore.weights.singular import of_change, of_product


@pytest.fixture(params=["linear", "1x1", "3x3", "more ranks than sides"])
def factors(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    up, down = {
        "linear": ((12, 5), (5, 9)),
        "1x1": ((12, 5, 1, 1), (5, 9, 1, 1)),
        "3x3": ((7, 4, 1, 1), (4, 6, 3, 3)),
        "more ranks than sides": ((4, 9), (9, 6)),
    }[request.param]
    return torch.randn(up), torch.randn(down)


def product(up: Tensor, down: Tensor) -> Tensor:
    return (up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])


def test_values_are_those_of_the_whole_change(factors: tuple[Tensor, Tensor]) -> None:
    exact = torch.linalg.svdvals(product(*factors).flatten(1))
    for values in (of_product(*factors).values, of_change(product(*factors)).values):
        count = min(len(values), len(exact))
        assert torch.allclose(values[:count], exact[:count], atol=1e-4)


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_factors_are_the_nearest_of_their_rank(factors: tuple[Tensor, Tensor], rank: int) -> None:
    whole = product(*factors)
    left, values, right = torch.linalg.svd(whole.flatten(1), full_matrices=False)
    nearest = (left[:, :rank] * values[:rank]) @ right[:rank]
    up, down = of_product(*factors).factors(rank)
    assert torch.allclose(product(up, down).flatten(1), nearest, atol=1e-4)
    assert down.shape == (rank, *factors[1].shape[1:])
    assert up.dim() == factors[0].dim()


def test_what_is_left_out_is_the_rest_of_the_norm(factors: tuple[Tensor, Tensor]) -> None:
    whole, found = product(*factors), of_product(*factors)
    rest = whole - product(*found.factors(2))
    assert found.left_out(2) == pytest.approx(float(rest.norm() / whole.norm()), abs=1e-5)


def test_no_change_leaves_nothing_out() -> None:
    assert of_change(torch.zeros(3, 4)).left_out(1) == 0
