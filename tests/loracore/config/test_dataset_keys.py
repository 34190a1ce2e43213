from __future__ import annotations

import pytest

from loracore.config.dataset_keys import AGREED, KEYS, parse_face_range, parse_resolution


@pytest.mark.parametrize("value", [768, [768], "768", [768, 768], "768,768", " 768 , 768"])
def test_a_square_resolution_is_read_in_every_spelling(value: object) -> None:
    assert parse_resolution(value) == (768, 768)


def test_a_resolution_is_width_and_height() -> None:
    assert parse_resolution("1024,768") == parse_resolution([1024, 768]) == (1024, 768)


@pytest.mark.parametrize("value", [64.0, "wide", [1, 2, 3], 0, True, "512,", [512, -512], {}, None])
def test_no_other_resolution_is_read(value: object) -> None:
    with pytest.raises(ValueError, match="should be N"):
        parse_resolution(value)


@pytest.mark.parametrize("value", [[1, 3], [1.0, 3.0], "1,3", "1.0, 3.0", ["1", 3]])
def test_a_range_of_faces_is_read_in_every_spelling(value: object) -> None:
    assert parse_face_range(value) == (1.0, 3.0)


@pytest.mark.parametrize(
    "value", [[3, 1], [0, 1], "1", "1,2,3", [True, 2], "a,b", ["nan", 2], [1, "inf"], 1.5, [[1], 2]]
)
def test_no_other_range_of_faces_is_read(value: object) -> None:
    with pytest.raises(ValueError, match="the lower one first"):
        parse_face_range(value)


def test_what_subsets_must_agree_on_may_stand_at_every_level() -> None:
    assert {KEYS[key].levels for key in AGREED} == {("subsets", "datasets", "general")}
