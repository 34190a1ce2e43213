from __future__ import annotations

import pytest
import torch

from loracore.networks.spellings import ALPHA, DOWN, MID, UP
from loracore.weights.merge.low_rank import FactorPair, change_shape, is_low_rank, stacked


def test_an_alpha_that_a_precision_would_round_is_made_up_for_in_the_factors() -> None:
    part = FactorPair(torch.ones(2, 301), torch.ones(301, 2), 1.0)
    made = stacked([(part, 1.0)], torch.bfloat16)
    assert made[ALPHA] == made[ALPHA].bfloat16()
    assert made[ALPHA] != 301
    assert torch.allclose(made[UP] * (made[ALPHA] / 301), torch.ones(2, 301))


@pytest.mark.parametrize("scale", [0.0, -2.0])
def test_scales_that_no_alpha_should_have_are_in_the_factors(scale: float) -> None:
    made = stacked([(FactorPair(torch.ones(3, 2), torch.ones(2, 3), scale), 0.5)], torch.float32)
    assert made[ALPHA] == 2
    assert torch.equal(made[UP], torch.full((3, 2), scale / 2))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({DOWN, UP}, True),
        ({DOWN, UP, ALPHA, MID}, True),
        ({DOWN, ALPHA}, False),
        ({DOWN, UP, "dora_scale"}, False),
    ],
)
def test_a_lora_is_told_by_its_tensors(names: set[str], expected: bool) -> None:
    assert is_low_rank(names) is expected


@pytest.mark.parametrize(
    ("up", "down", "mid", "expected"),
    [
        ((6, 2), (2, 5), None, (6, 5)),
        ((6, 2, 1, 1), (2, 5, 3, 3), None, (6, 5, 3, 3)),
        ((6, 2, 1, 1), (4, 5, 1, 1), (2, 4, 3, 3), (6, 5, 3, 3)),
        ((6, 2), (3, 5), None, None),
        ((6, 2), (2, 5, 1, 1), None, None),
        ((6, 2, 3, 3), (2, 5, 1, 1), None, None),
        ((6, 2, 1, 1), (4, 5, 1, 1), (2, 3, 3, 3), None),
    ],
)
def test_the_shape_of_a_change_is_that_of_its_factors(
    up: tuple[int, ...], down: tuple[int, ...], mid: tuple[int, ...] | None, expected: tuple[int, ...] | None
) -> None:
    assert change_shape({UP: up, DOWN: down, **({} if mid is None else {MID: mid})}) == expected
