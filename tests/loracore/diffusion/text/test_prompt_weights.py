from __future__ import annotations

import json
from pathlib import Path

import pytest

from loracore.diffusion.text.prompt_weights import WeightedText, weighted_pieces


def pieces_of(caption: str) -> list[tuple[str, float]]:
    """Return texts and weights; these to six digits, as products of 1.1 have more."""
    return [(piece.text, round(piece.weight, 6)) for piece in weighted_pieces(caption)]


def test_weights_are_the_references(data: Path) -> None:
    cases = json.loads((data / "training.json").read_text(encoding="utf-8"))["prompt_attention"]["items"]
    assert cases
    for case in cases:
        assert pieces_of(case["text"]) == [(text, round(weight, 6)) for text, weight in case["out"]], case["text"]


@pytest.mark.parametrize(
    "caption", ["", "a red, red cat: 1.2", r"back\slash", "a\nb", "smile :) and :1.5) more", "b] c) d"]
)
def test_text_without_an_opened_bracket_is_one_piece_as_it_is(caption: str) -> None:
    assert weighted_pieces(caption) == (WeightedText(caption),)


@pytest.mark.parametrize(
    ("caption", "pieces"),
    [
        ("(a: 1.5 )", [("a", 1.5)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)]),
        ("a (b (c", [("a ", 1.0), ("b ", 1.1), ("c", 1.21)]),
        (r"(a \(b\):2)", [("a (b)", 2.0)]),
        ("()", [("", 1.0)]),
    ],
)
def test_brackets_weight_what_stands_in_them(caption: str, pieces: list[tuple[str, float]]) -> None:
    assert pieces_of(caption) == [(text, round(weight, 6)) for text, weight in pieces]
