"""network_args is a second door to the options tagged for it, checked as strictly as the first."""

from __future__ import annotations

import pytest

from tests.loracore.config.tables import Numbers, Words, checked, flags, in_file


def said(*argv: str) -> str:
    return "\n".join(map(str, checked(flags(*argv).given).problems))


def test_keys_become_options_split_at_the_first_equals_sign() -> None:
    found = checked(flags("--network_args", "rank=8", "gentle=True", "rates=1,2.5", "alpha = 2").given)
    assert found.problems == ()
    assert found.config is not None
    assert found.config[Numbers] == Numbers(rank=8, alpha=2.0, rates=(1.0, 2.5))
    assert found.config[Words].gentle


def test_a_key_is_placed_where_network_args_stand() -> None:
    found = checked(in_file("network_args = ['rank=8']"))
    assert found.config is not None
    assert found.config.place("rank") == "a.toml"


def test_an_unknown_key_suggests_the_nearest() -> None:
    assert said("--network_args", "rnak=8") == "--network_args: unknown key 'rnak' (did you mean 'rank'?)"


def test_in_a_file_a_wrong_item_is_told_with_the_name_of_the_list() -> None:
    problems = checked(in_file("network_args = ['rnak=8', 'rank']")).problems
    assert [str(problem).partition(" (")[0] for problem in problems] == [
        "a.toml: network_args: unknown key 'rnak'",
        "a.toml: network_args: 'rank' is not key=value",
    ]


def test_an_option_that_is_not_tagged_is_refused() -> None:
    assert "write --precision" in said("--network_args", "precision=fp16")


@pytest.mark.parametrize(("item", "fix"), [("rank", "write key=value"), ("run.toml", "CONFIG stands before")])
def test_an_item_without_equals_sign_is_refused(item: str, fix: str) -> None:
    assert fix in said("--network_args", item)


def test_a_key_out_of_range_is_refused() -> None:
    assert "at most 64, not '65'" in said("--network_args", "rank=65")


@pytest.mark.parametrize("item", ["alpha=inf", "rates=1,nan"])
def test_a_number_without_end_is_refused(item: str) -> None:
    assert "must be" in said("--network_args", item)


@pytest.mark.parametrize("value", ["8", "8.0"])
def test_both_doors_may_say_the_same(value: str) -> None:
    assert said("--rank", "8", "--network_args", f"rank={value}") == ""


def test_both_doors_with_different_values_are_refused() -> None:
    assert "'rank' is '9' in network_args and '8' at --rank" in said("--rank", "8", "--network_args", "rank=9")


def test_one_key_twice_with_different_values_is_refused() -> None:
    assert "'rank' is '9' in network_args and '8'" in said("--network_args", "rank=8", "rank=9")
