"""Values are converted as flags would be, checked for type, range and choice, and every problem is reported."""

from __future__ import annotations

from typing import Any

import pytest

from loracore.config.values import bound_text
from tests.loracore.config.tables import Numbers, Words, checked, flags, in_file, said_of, value_of


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("rank", "8", 8),
        ("rank", 8.0, 8),
        ("alpha", "0.5", 0.5),
        ("alpha", 2, 2.0),
        ("warm_up", "100", 100),
        ("warm_up", "0.1", 0.1),
        ("warm_up", 10.0, 10.0),
        ("rates", "1e-4", (1e-4,)),
        ("rates", 1, (1.0,)),
        ("rates", ["1", 2], (1.0, 2.0)),
        ("rates", [], ()),
        ("length", "150", 150),
        ("name", 1024, "1024"),
        ("name", "nan", "nan"),
        ("gentle", "True", True),
        ("gentle", "false", False),
        ("network_args", "rank=2", ("rank=2",)),
    ],
)
def test_a_value_is_converted_as_a_flag_would_be(name: str, raw: Any, value: Any) -> None:
    found = value_of(name, raw)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("rank", 8.5, "a.toml:3: rank: must be a whole number, at least 1, at most 64, not 8.5"),
        ("rank", True, "not true"),
        ("rank", "eight", "not 'eight'"),
        ("rank", 0, "at least 1"),
        ("rank", [8], "not [8]"),
        ("alpha", "nan", "must be a number"),
        ("alpha", float("inf"), "must be a number"),
        ("alpha", "inf", "must be a number"),
        ("warm_up", "Infinity", "must be a whole number or a number"),
        ("warm_up", "1e999", "must be a whole number or a number"),
        ("rank", "inf", "must be a whole number"),
        ("rates", ["1e-4", "nan"], "must be a list, each item a number"),
        ("rates", [1.0, float("inf")], "must be a list, each item a number"),
        ("rates", "-inf", "must be a list, each item a number"),
        ("rates", [1.0, False], "must be a list, each item a number"),
        ("length", 100, "one of 75, 150, 225, not 100"),
        ("precision", "bf-16", "did you mean 'bf16'?"),
        ("precision", False, "one of no, fp16, bf16, not false"),
        ("gentle", 1, "must be true or false, not 1"),
        ("gentle", "maybe", "must be true or false, not 'maybe'"),
        ("name", True, "must be text, not true"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_place_and_expectation(name: str, raw: Any, said: str) -> None:
    assert said in said_of(name, raw)


def test_a_refused_value_leaves_one_problem_even_for_a_union() -> None:
    assert said_of("warm_up", "soon").count("warm_up") == 1


def test_flags_win_over_the_file_over_defaults() -> None:
    found = checked(in_file("rank = 8\nname = 'file'\nrates = [1, 2]"), flags("--rank", "16", "--rates", "3").given)
    assert found.config is not None
    assert found.config[Numbers] == Numbers(rank=16, rates=(3.0,))
    assert found.config[Words].name == "file"


def test_every_given_option_knows_its_place() -> None:
    found = checked(in_file("rank = 8\nlength = 75"), flags("--rank", "16").given)
    assert found.config is not None
    assert [found.config.place(name) for name in ("rank", "length", "alpha")] == ["--rank", "a.toml", "--alpha"]
    assert [found.config.given(name) for name in ("rank", "length", "alpha")] == [True, True, False]


def test_every_problem_is_reported_at_once() -> None:
    problems = checked(in_file("rank = 0\nprecision = 'x'\nrankk = 2"), flags("--alpha", "-1").given).problems
    assert sorted(str(problem).partition(" must")[0] for problem in problems) == [
        "--alpha:",
        "a.toml: precision:",
        "a.toml: rank:",
        "a.toml: unknown option 'rankk' (did you mean 'rank'?)",
    ]


def test_an_unknown_option_suggests_the_nearest() -> None:
    assert said_of("rnak", 8) == "a.toml:3: unknown option 'rnak' (did you mean 'rank'?)"


def test_an_abbreviated_flag_names_the_option_in_full() -> None:
    problem = checked(flags("--prec", "bf16").given).problems[0]
    assert str(problem) == "--prec: unknown option 'prec' (abbreviations are not accepted: write --precision)"


def test_an_unknown_option_leaves_a_config_to_check_further() -> None:
    found = checked(flags("--rank", "8", "--unheard", "9").given)
    assert found.config is not None
    assert len(found.problems) == 1


@pytest.mark.parametrize(("name", "raw"), [("name", "a\0b"), ("network_args", ["rank=2", "\0"])])
def test_text_with_a_nul_is_refused(name: str, raw: Any) -> None:
    assert said_of(name, raw).endswith("must hold no NUL character")


def test_a_large_bound_is_told_in_all_its_digits() -> None:
    assert (bound_text(("maximum", 2.0**20)), bound_text(("minimum", 0.5))) == ("at most 1048576", "at least 0.5")
