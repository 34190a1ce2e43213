from __future__ import annotations

import pytest

from loracore.data.captions import caption_stems, first_line, tag_frequency, with_affixes


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
