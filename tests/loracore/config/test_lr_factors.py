from __future__ import annotations

import json
from pathlib import Path

import pytest

from loracore.config.lr_factors import lr_factors
from loracore.errors import ConfigError


def test_curves_are_the_references(data: Path) -> None:
    presets = json.loads((data / "blocks-sdxl.json").read_text(encoding="utf-8"))["presets_9"]
    assert {name: list(lr_factors(name, 9, curves=True)) for name in presets} == presets
    assert len(presets) == 6


def test_a_curve_fits_any_number_of_blocks() -> None:
    assert lr_factors("linear", 3, curves=True) == (0.0, 0.5, 1.0)
    assert lr_factors("reverse_linear", 1, curves=True) == (1.0,)


def test_an_empty_item_of_a_list_is_0() -> None:
    assert lr_factors("1, ,.5,", 9, curves=True) == (1.0, 0.0, 0.5, 0.0)


def test_a_list_without_curves_may_have_one_item() -> None:
    assert lr_factors("0.5", 3, curves=False) == (0.5,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sin", "'sin' is none of the curves sine, cosine, linear, reverse_linear, zeros (did you mean 'sine'?)"),
        ("0.5", "(write one number for each block, separated by commas, or zeros+0.5 for 0.5 everywhere)"),
        ("", "'' is none of the curves"),
        ("sine+", "'' is no number, 0 or more"),
        ("sine+-1", "'-1' is no number, 0 or more"),
        ("1,x", "'x' is no number, 0 or more"),
        ("1,nan", "'nan' is no number, 0 or more"),
        ("1,inf", "'inf' is no number, 0 or more"),
        ("1,-0.5", "'-0.5' is no number, 0 or more (write numbers, separated by commas)"),
    ],
)
def test_what_is_no_factor_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lr_factors(text, 9, curves=True)
    assert expected in str(caught.value)
