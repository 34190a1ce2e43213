from __future__ import annotations

import pytest

from loracore.report.charts import Curve, chart, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.0, 40.0, [0, 10, 20, 30, 40]),
        (0.0, 1.1e-4, [0.0, 2.5e-5, 5e-5, 7.5e-5, 1e-4]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_chart_without_a_finite_point_is_left_out() -> None:
    assert chart("Loss", [Curve("loss", [1, 2], [float("nan")] * 2)]) == ""


def test_a_gap_breaks_the_line() -> None:
    drawn = chart("Loss", [Curve("loss", [1, 2, 3, 4], [1.0, float("nan"), 1.0, 2.0])])
    path = drawn.split('class="curve c0" d="')[1].split('"')[0]
    assert path.count("M") == 2


@pytest.mark.parametrize("value", [0.0, 1e-9, 3.0, -2.0])
def test_a_single_point_can_be_drawn(value: float) -> None:
    assert "<path" in chart("Loss", [Curve("loss", [1], [value])])


def test_names_of_groups_stay_text() -> None:
    assert "<b>" not in chart("<b>", [Curve("<b>", [1], [1.0])], [1], "<b>")
