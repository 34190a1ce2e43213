"""Rules for new ranks, against the field's formulas written out one number at a time."""

from __future__ import annotations

import pytest
import torch

from loracore.weights.resize.new_ranks import Dynamic, Method, NewRanks


def by_hand(values: list[float], method: Method, parameter: float) -> int:
    """Return index + 1 of specification 4, "Tools": the index is held in [1, len - 1]."""
    if method == "sv_ratio":
        index = len([one for one in values if one > values[0] / parameter])
    else:
        power = 1 if method == "sv_cumulative" else 2
        whole, index, sum_ = sum(one**power for one in values), 0, 0.0
        while sum_ / whole < parameter**power:
            sum_ += values[index] ** power
            index += 1
    return max(1, min(index, len(values) - 1)) + 1


@pytest.mark.parametrize(
    ("method", "parameter"),
    [
        ("sv_ratio", 1.5),
        ("sv_ratio", 4.0),
        ("sv_ratio", 1e9),
        ("sv_cumulative", 0.3),
        ("sv_cumulative", 0.9),
        ("sv_fro", 0.5),
        ("sv_fro", 0.97),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_rules_are_the_fields(method: Method, parameter: float, seed: int) -> None:
    values = torch.rand(12, generator=torch.Generator().manual_seed(seed)).sort(descending=True).values
    rank = NewRanks(64, 64, Dynamic(method, parameter)).rank(values, conv=False)
    assert rank == by_hand(values.tolist(), method, parameter)


def test_no_rule_gives_more_than_is_asked_for() -> None:
    ranks = NewRanks(4, 3, Dynamic("sv_ratio", 1e9))
    values = torch.linspace(2, 1, 10)
    assert [ranks.rank(values, conv=conv) for conv in (False, True)] == [4, 3]


def test_fixed_ranks_are_those_given_as_far_as_there_are_any() -> None:
    ranks = NewRanks(8, 2, None)
    assert ranks.rank(torch.ones(5), conv=False) == 5
    assert ranks.rank(torch.ones(5), conv=True) == 2


@pytest.mark.parametrize("dynamic", [None, Dynamic("sv_ratio", 2), Dynamic("sv_cumulative", 0.5), Dynamic("sv_fro", 1)])
def test_no_change_needs_one_rank(dynamic: Dynamic | None) -> None:
    assert NewRanks(8, 8, dynamic).rank(torch.zeros(4), conv=False) == 1


def test_a_single_value_stays_one() -> None:
    assert NewRanks(8, 8, Dynamic("sv_fro", 0.9)).rank(torch.ones(1), conv=False) == 1


@pytest.mark.parametrize("method", ["sv_cumulative", "sv_fro"])
def test_the_whole_share_keeps_every_value(method: Method) -> None:
    values = torch.rand(7, generator=torch.Generator().manual_seed(3)).sort(descending=True).values
    assert NewRanks(64, 64, Dynamic(method, 1.0)).rank(values, conv=False) == 7
