from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loracore.config.dataset_spec import CaptionRules
from loracore.data.captions.texts import caption_stems, caption_text, first_line, tag_frequency, with_affixes

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Golden


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("  x, y  \r\nsecond\r\n", "x, y"),
        ("\n\nlate", ""),
        ("", ""),
        ("old mac\rsecond", "old mac"),
        ("x\u2028y", "x\u2028y"),
    ],
)
def test_a_caption_is_the_first_line(text: str, caption: str) -> None:
    assert first_line(text) == caption


def test_golden_texts_of_caption_files(golden: Golden) -> None:
    cases = [case for case in golden["caption_files"]["cases"] if case["files"].keys() == {"a.txt"}]
    decoded = [case for case in cases if case.get("caption") is not None and "byte-order" not in case["how"]]
    assert len(decoded) == 7
    for case in decoded:
        rules = CaptionRules(enable_wildcard=case["settings"].get("enable_wildcard", False))
        assert caption_text(case["files"]["a.txt"], rules) == case["caption"], case["how"]


@pytest.mark.parametrize("enable_wildcard", [False, True])
def test_an_empty_file_is_an_empty_caption(enable_wildcard: bool) -> None:
    assert caption_text("", CaptionRules(enable_wildcard=enable_wildcard)) == ""


def test_line_ends_of_all_systems_part_lines() -> None:
    assert caption_text("a\r\nb\rc\n \nd", CaptionRules(enable_wildcard=True)) == "a\nb\nc\nd"


def test_affixes_stand_a_blank_apart() -> None:
    assert with_affixes("a dog", "photo of", "in snow") == "photo of a dog in snow"


def test_empty_affixes_add_nothing() -> None:
    assert with_affixes("a dog", "", "") == "a dog"


def test_a_face_position_is_no_part_of_the_caption_name() -> None:
    assert caption_stems("h_1_2_3_4") == ("h_1_2_3_4", "h")


def test_a_plain_name_is_the_caption_name() -> None:
    assert caption_stems("my_dog") == ("my_dog",)


def test_tags_are_counted_in_lower_case_without_empty_ones() -> None:
    assert tag_frequency(["Dog, , snow", "dog"]) == {"dog": 2, "snow": 1}
