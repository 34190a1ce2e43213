from __future__ import annotations

import pytest

from loracore.config.dataset_spec import CaptionRules
from loracore.data.captions.tag_list import TagList, join_tags, split_tags

PARTED = CaptionRules(keep_tokens=1, keep_tokens_separator="|||")


def test_keep_tokens_fixes_the_first_tags_and_keeps_empty_ones() -> None:
    assert split_tags(" a, b,, c ", CaptionRules(keep_tokens=2)) == TagList(("a", "b"), ("", "c"))


def test_another_separator_parts_tags() -> None:
    assert split_tags("a, b; c", CaptionRules(caption_separator=";")) == TagList((), ("a, b", "c"))


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a, b", TagList(("a",), ("b",))),
        ("a, b ||| c,, d", TagList(("a", "b"), ("c", "d"))),
        ("a ||| b ||| c", TagList(("a",), ("b",), ("c",))),
        ("a ||| b ||| c ||| d, e", TagList(("a",), ("b",), ("c", "d", "e"))),
        ("||| b |||", TagList((), ("b",))),
    ],
)
def test_the_separator_parts_fixed_flexible_and_closing_tags(text: str, tags: TagList) -> None:
    assert split_tags(text, PARTED) == tags


def test_legacy_captions_leave_a_third_separator_in_the_text() -> None:
    rules = CaptionRules(keep_tokens_separator="|||", legacy_captions=True)
    assert split_tags("a ||| b ||| c ||| d", rules).closing == ("c ||| d",)


def test_tags_are_joined_by_comma_and_blank() -> None:
    assert join_tags(["a", "", "b"]) == "a, , b"
