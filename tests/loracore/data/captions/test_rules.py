from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loracore.config.dataset_spec import CaptionRules
from loracore.data.captions.rules import (
    CaptionVisit,
    depends_on_step,
    dropped,
    drops_captions,
    is_random,
    kept_tokens,
    spoken_caption,
    warmup_steps,
    worded_caption,
)

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Golden

VISIT = CaptionVisit(epoch=1, step=0, max_train_steps=100)
SEEDS = st.integers(0, 2**32)
TAGS = st.lists(st.text("abcxyz ", min_size=1).map(str.strip).filter(bool), max_size=8)
RULES = st.builds(
    CaptionRules,
    caption_prefix=st.sampled_from(["", "P"]),
    caption_suffix=st.sampled_from(["", "S"]),
    secondary_separator=st.sampled_from(["", ";;"]),
    enable_wildcard=st.booleans(),
    keep_tokens=st.integers(0, 3),
    keep_tokens_separator=st.sampled_from(["", "|||"]),
    shuffle_caption=st.booleans(),
    token_warmup_step=st.sampled_from([0, 0.5, 10]),
    caption_tag_dropout_rate=st.sampled_from([0, 0.5, 1]),
    caption_dropout_rate=st.sampled_from([0, 0.5]),
    legacy_captions=st.booleans(),
)
CAPTIONS = st.lists(st.sampled_from(["a", "b,c", ",", " ||| ", "{d|e}", ";;", "\n", "{{", "}"])).map("".join)

#: Recorded cases in which a fault of the field is mended, and what is said instead.
MENDED = {
    "prefix/suffix on a multi-line caption without wildcards: suffix is lost with the later lines": "P a, b S",
    "keep_tokens_separator stays in the text when neither shuffle, tag dropout nor warmup is on": "a, b, c, d, e",
    "keep_tokens_separator three times: third stays in the suffix tags": "a, b, c, d",
}


def rng(seed: int = 0) -> Random:
    return Random(seed)  # noqa: S311  # no secrets


def rules_of(settings: dict[str, Any]) -> CaptionRules:
    return CaptionRules(**{key: value for key, value in settings.items() if value is not None})


def recorded(golden: Golden) -> list[dict[str, Any]]:
    """Return the cases without replacements: those belong to textual inversion, which is not trained here."""
    return [case for case in golden["captions"]["cases"] if "replacements" not in case]


def said(case: dict[str, Any], seed: int, *, legacy: bool) -> str:
    rules = replace(rules_of(case["settings"]), legacy_captions=legacy)
    visit = CaptionVisit(case["epoch"], case["step"], case["max_train_steps"])
    return spoken_caption(case["caption_in"], rules, visit, rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_legacy_captions_are_the_golden_ones(golden: Golden, seed: int) -> None:
    cases = recorded(golden)
    assert len(cases) == 41
    assert {case["how"]: said(case, seed, legacy=True) for case in cases} == {
        case["how"]: case["caption_out"] for case in cases
    }


@pytest.mark.parametrize("seed", range(5))
def test_captions_differ_from_the_golden_ones_only_where_a_fault_is_mended(golden: Golden, seed: int) -> None:
    cases = recorded(golden)
    found = {case["how"]: said(case, seed, legacy=False) for case in cases}
    different = {case["how"]: found[case["how"]] for case in cases if found[case["how"]] != case["caption_out"]}
    assert different == MENDED


def test_rules_are_named_as_in_the_golden_defaults(golden: Golden) -> None:
    own = {key: value for key, value in golden["captions"]["defaults"].items() if key in CaptionRules.__slots__}
    assert len(own) == 13
    assert rules_of(own) == CaptionRules()


@given(CAPTIONS, RULES, SEEDS)
def test_the_same_random_numbers_give_the_same_text(caption: str, rules: CaptionRules, seed: int) -> None:
    assert spoken_caption(caption, rules, VISIT, rng(seed)) == spoken_caption(caption, rules, VISIT, rng(seed))


@given(CAPTIONS, RULES, SEEDS, SEEDS)
def test_rules_that_are_not_random_draw_nothing(caption: str, rules: CaptionRules, seed: int, other: int) -> None:
    plain = replace(rules, shuffle_caption=False, caption_tag_dropout_rate=0, enable_wildcard=False)
    used = rng(seed)
    assert worded_caption(caption, plain, VISIT, used) == worded_caption(caption, plain, VISIT, rng(other))
    assert used.getstate() == rng(seed).getstate()


@given(CAPTIONS, RULES, SEEDS)
def test_a_caption_is_dropped_first_and_worded_then(caption: str, rules: CaptionRules, seed: int) -> None:
    one = rng(seed)
    parts = "" if dropped(rules, VISIT, one) else worded_caption(caption, rules, VISIT, one)
    assert spoken_caption(caption, rules, VISIT, rng(seed)) == parts


@given(TAGS, SEEDS, st.integers(0, 10))
def test_shuffling_moves_all_tags_but_the_first_kept_ones(tags: list[str], seed: int, kept: int) -> None:
    rules = CaptionRules(shuffle_caption=True, keep_tokens=kept)
    found = worded_caption(",".join(tags), rules, VISIT, rng(seed)).split(", ")
    assert found[:kept] == (tags or [""])[:kept]
    assert sorted(found) == sorted(tags or [""])


def test_shuffling_reaches_every_order() -> None:
    rules, one = CaptionRules(shuffle_caption=True), rng()
    assert len({worded_caption("a,b,c", rules, VISIT, one) for _ in range(200)}) == 6


@given(TAGS, TAGS, TAGS, SEEDS)
def test_dropping_all_tags_keeps_the_fixed_ones(
    fixed: list[str], flexible: list[str], closing: list[str], seed: int
) -> None:
    rules = CaptionRules(keep_tokens_separator="|||", caption_tag_dropout_rate=1, shuffle_caption=True)
    caption = "|||".join(",".join(part) for part in (fixed, flexible, closing))
    assert worded_caption(caption, rules, VISIT, rng(seed)) == ", ".join(fixed + closing)


def test_tags_are_dropped_at_their_rate() -> None:
    rules = CaptionRules(caption_tag_dropout_rate=0.3)
    found = worded_caption(",".join(["a"] * 10_000), rules, VISIT, rng()).count("a")
    assert 6800 < found < 7200  # 7000 expected, standard deviation 46


@given(CAPTIONS, RULES, SEEDS)
def test_the_separator_of_kept_tokens_is_never_said(caption: str, rules: CaptionRules, seed: int) -> None:
    mended = replace(rules, keep_tokens_separator="|||", legacy_captions=False)
    assert "|||" not in worded_caption(caption, mended, VISIT, rng(seed))


def test_affixes_go_to_whichever_line_is_chosen() -> None:
    rules, one = CaptionRules(caption_prefix="P", caption_suffix="S", enable_wildcard=True), rng()
    assert {worded_caption("a\nb\nc", rules, VISIT, one) for _ in range(50)} == {"P a S", "P b S", "P c S"}


def test_legacy_captions_have_the_prefix_in_the_first_and_the_suffix_in_the_last_line() -> None:
    rules = CaptionRules(caption_prefix="P", caption_suffix="S", enable_wildcard=True, legacy_captions=True)
    one = rng()
    assert {worded_caption("a\nb\nc", rules, VISIT, one) for _ in range(50)} == {"P a", "b", "c S"}


def test_affixes_may_hold_wildcards() -> None:
    rules, one = CaptionRules(caption_prefix="{x|y}", enable_wildcard=True), rng()
    assert {worded_caption("a", rules, VISIT, one) for _ in range(50)} == {"x a", "y a"}


def test_captions_are_dropped_at_their_rate() -> None:
    rules, one = CaptionRules(caption_dropout_rate=0.1), rng()
    found = sum(dropped(rules, VISIT, one) for _ in range(10_000))
    assert 880 < found < 1120  # 1000 expected, standard deviation 30


def test_epochs_count_from_one_so_that_the_first_keeps_its_captions() -> None:
    rules = CaptionRules(caption_dropout_every_n_epochs=3)
    visits = [replace(VISIT, epoch=epoch) for epoch in range(1, 8)]
    assert [visit.epoch for visit in visits if dropped(rules, visit, rng())] == [3, 6]


@pytest.mark.parametrize(("value", "steps"), [(0, 0), (0.2, 20), (0.299, 29), (0.001, 0), (1, 1), (12.5, 12.5)])
def test_warm_up_below_one_is_a_share_of_the_run(value: float, steps: float) -> None:
    assert warmup_steps(CaptionRules(token_warmup_step=value), 100) == steps


@given(st.integers(0, 20), st.integers(0, 5), st.integers(1, 60))
def test_warm_up_never_says_fewer_tags_than_before(count: int, least: int, steps: int) -> None:
    rules = CaptionRules(token_warmup_min=least, token_warmup_step=steps)
    found = [kept_tokens(count, rules, replace(VISIT, step=step)) for step in range(steps + 1)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (min(least, count), count)


def test_fixed_tags_need_no_warm_up() -> None:
    rules = CaptionRules(keep_tokens=2, token_warmup_step=10)
    assert worded_caption("a,b,c,d", rules, VISIT, rng()) == "a, b, c"


def test_what_depends_on_chance_and_time_is_known_from_the_rules() -> None:
    chance = {"shuffle_caption": True, "caption_tag_dropout_rate": 0.1, "enable_wildcard": True}
    assert all(is_random(CaptionRules(**{name: value})) for name, value in chance.items())  # type: ignore[arg-type]  # one type each
    still = CaptionRules(caption_dropout_rate=0.1, token_warmup_step=0.1)
    assert (is_random(still), depends_on_step(still), drops_captions(still)) == (False, True, True)
    assert drops_captions(CaptionRules(caption_dropout_every_n_epochs=2))
    assert not any(depends(CaptionRules()) for depends in (is_random, depends_on_step, drops_captions))
