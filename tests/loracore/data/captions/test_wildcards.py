from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.data.captions.wildcards import choose_words

SEEDS = st.integers(0, 2**32)


def by_placeholders(text: str, rng: Random) -> str:
    """Choose words the field's way: doubled braces are hidden behind signs that no caption has."""
    hidden = text.replace("{{", "\x01").replace("}}", "\x02")
    chosen = re.sub(r"\{([^}]+)\}", lambda found: rng.choice(found[1].split("|")), hidden)
    return chosen.replace("\x01", "{").replace("\x02", "}")


@given(st.text("{}|ab", max_size=30), SEEDS)
def test_braces_are_read_as_the_field_reads_them(text: str, seed: int) -> None:
    assert choose_words(text, Random(seed)) == by_placeholders(text, Random(seed))  # noqa: S311  # no secrets


def test_every_alternative_is_chosen_about_as_often() -> None:
    rng = Random(3)  # noqa: S311  # no secrets
    found = [choose_words("{a|b|}", rng) for _ in range(3000)]
    # 1000 of each expected, standard deviation 26
    assert all(870 < found.count(word) < 1130 for word in ("a", "b", ""))


@pytest.mark.parametrize("text", ["a {} b", "a {b|c d", "b|c", ""])
def test_what_is_no_choice_stays(text: str) -> None:
    assert choose_words(text, Random(0)) == text  # noqa: S311  # no secrets


def test_text_without_choices_draws_nothing() -> None:
    rng = Random(0)  # noqa: S311  # no secrets
    before = rng.getstate()
    assert choose_words("a {{b|c}} d", rng) == "a {b|c} d"
    assert rng.getstate() == before
