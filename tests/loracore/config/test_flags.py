"""Flags as the field writes them: lists up to the next --, switches without value, one free word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loracore.config.tables import flags


def pairs(*argv: str) -> dict[str, object]:
    return {each.name: each.value for each in flags(*argv).given}


def said(*argv: str) -> str:
    return "\n".join(map(str, flags(*argv).problems))


def test_lists_take_values_up_to_the_next_flag() -> None:
    assert pairs("--network_args", "a=1", "b=2", "--rank", "8") == {"network_args": ("a=1", "b=2"), "rank": "8"}


def test_a_list_may_be_empty() -> None:
    assert pairs("--rates", "--rank", "8") == {"rates": (), "rank": "8"}


def test_a_value_may_follow_an_equals_sign() -> None:
    assert pairs("--name=a=b", "--rates=1", "2") == {"name": "a=b", "rates": ("1", "2")}


def test_switches_take_no_value_and_can_be_turned_off() -> None:
    assert pairs("--gentle", "--no_words") == {"gentle": "true", "no_words": "true"}
    assert pairs("--no_gentle", "--no_no_words") == {"gentle": "false", "no_words": "false"}


def test_dashes_are_underscores() -> None:
    assert pairs("--network-args", "a-b=1", "--no-gentle") == {"network_args": ("a-b=1",), "gentle": "false"}


def test_a_negative_number_is_a_value() -> None:
    assert pairs("--alpha", "-1") == {"alpha": "-1"}


@pytest.mark.parametrize(
    "argv",
    [
        ("run.toml", "--rank", "8", "--gentle"),
        ("--rank", "8", "run.toml", "--gentle"),
        ("--rank", "8", "--gentle", "run.toml"),
        ("--rank=8", "run.toml", "--gentle"),
        ("--config_file", "run.toml", "--gentle", "--rank", "8"),
        ("--config-file=run.toml", "--gentle", "--rank", "8"),
        ("--rank", "8", "--gentle", "--unheard", "run.toml"),
    ],
)
def test_config_is_the_free_word(argv: tuple[str, ...]) -> None:
    found = flags(*argv)
    assert found.config == "run.toml"
    assert {each.name for each in found.given} - {"unheard"} == {"rank", "gentle"}
    assert found.problems == ()


def test_a_second_free_word_is_an_error() -> None:
    assert said("one.toml", "two.toml") == "unexpected word 'two.toml' (CONFIG is 'one.toml' already)"


@pytest.mark.parametrize("argv", [("--alpha", "1", "2e-4", "run.toml"), ("--alpha=1", "-2e-4", "run.toml")])
def test_a_second_number_behind_an_option_of_one_value_is_no_config(argv: tuple[str, ...]) -> None:
    assert said(*argv) == f"--alpha: this option takes one value, not 2 (leave out {argv[-2]})"
    assert flags(*argv).config == "run.toml"


@pytest.mark.parametrize("argv", [("--gentle", "true"), ("--gentle", "False", "run.toml"), ("--no_gentle=true",)])
def test_a_value_behind_a_switch_is_an_error_and_no_config(argv: tuple[str, ...]) -> None:
    assert "write --gentle or --no_gentle" in said(*argv)
    assert flags(*argv).config in {None, "run.toml"}


@pytest.mark.parametrize("flag", ["--rank", "--config_file"])
def test_a_missing_value_is_an_error(flag: str) -> None:
    assert said(flag, "--gentle") == f"{flag}: a value is missing"


def test_a_flag_twice_is_an_error() -> None:
    assert "given twice" in said("--rank", "8", "--rank=9")


def test_an_unknown_flag_keeps_the_words_behind_it() -> None:
    assert pairs("--unheard", "a", "b", "--rank", "8") == {"unheard": ("a", "b"), "rank": "8"}


@given(st.lists(st.text(max_size=6)))
def test_no_command_line_crashes_the_reader(argv: list[str]) -> None:
    found = flags(*argv)
    assert (found.config is None) <= all(word.startswith("--") for word in argv[:1])
