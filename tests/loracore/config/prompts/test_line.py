from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loracore.config.prompts.line import read_line


def fates(line: str) -> list[tuple[str, str]]:
    return [(remark.fate, remark.message) for remark in read_line(line, "here")[1]]


def test_lines_have_the_fields_values(data: Path) -> None:
    golden: dict[str, Any] = json.loads((data / "training.json").read_text(encoding="utf-8"))["prompt_lines"]
    for item in golden["items"]:
        assert read_line(item["line"], "here")[0] == item["dict"]


@pytest.mark.parametrize("piece", ["w -5", "h tall", "d 1.5", "s", "l 1.2.3", "g x", "n", "ss", "ctr 1e3"])
def test_a_bad_value_is_wrong(piece: str) -> None:
    assert [fate for fate, _ in fates(f"a cat --{piece}")] == ["wrong"]


def test_an_unknown_option_is_said_to_be_left_out() -> None:
    ((fate, message),) = fates("a cat --ar 16:9 --w 64")
    assert fate == "without effect"
    assert "'--ar' is no option of a prompt" in message


def test_steps_beyond_the_limits_are_said_to_be_limited() -> None:
    assert fates("a cat --s 5000") == [("without effect", "--s 5000 becomes 1000")]


def test_words_behind_a_number_are_said_to_be_left_out() -> None:
    assert fates("a cat --w 64 pixels") == [("without effect", "--w 64: 'pixels' is left out")]


def test_a_prompt_that_begins_like_an_option_is_told() -> None:
    ((fate, message),) = fates("w 300 a dog")
    assert fate == "without effect"
    assert "sets width to 300" in message
    assert fates("w in a frame") == []
