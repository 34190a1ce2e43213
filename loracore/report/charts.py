"""Charts as SVG with their labels in HTML, so that text keeps its size however wide the page is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from loracore.report.thinning import Floats, thinned

WIDTH, HEIGHT = 1000, 300
_COLOURS = 6  # of the style sheet
_MOST_MARKS = 400
_MANY = 200  # points from which on single spikes may leave the chart
_TICKS = 5
_ROOM = 0.015  # of the width, beside the first and the last point


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """One line of a chart; ``faint`` ones stand behind the others."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    faint: bool = False
    dotted: bool = False  # shows its points: there are few


def chart(title: str, curves: Sequence[Curve], marks: Sequence[float] = (), marked: str = "") -> str:
    """Return a figure of curves over the steps; ``marks`` are steps to point at, and ``marked`` says what they are.

    Empty for curves without a single finite point.
    """
    points = [thinned(curve.xs, curve.ys) for curve in curves]
    shown = [(curve, point) for curve, point in zip(curves, points, strict=True) if np.isfinite(point[1]).any()]
    if not shown:
        return ""
    left, right = _span(np.concatenate([xs for _, (xs, _) in shown]))
    low, high = _heights([ys for _, (_, ys) in shown])
    frame = _Frame(left, right, low, high)
    lines = "".join(_line(curve, number, point, frame) for number, (curve, point) in enumerate(shown))
    pointers = "".join(_mark(frame.x(step)) for step in list(marks)[:_MOST_MARKS])
    legend = "".join(_key(curve.name, number, curve) for number, (curve, _) in enumerate(shown))
    if marks:
        legend += f'<span class="key"><i class="mark"></i>{escape(marked)}</span>'
    data = json.dumps([[curve.name, _pairs(*point)] for curve, point in shown])
    return (
        f'<figure class="chart" data-curves="{escape(data)}" data-span="{left!r},{right!r}">'
        f"<figcaption><h3>{escape(title)}</h3><div class=legend>{legend}</div></figcaption>"
        f'<div class="plot"><div class="ys" aria-hidden="true">{_labels(frame.heights, frame.y, "top", HEIGHT)}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(_summary(title, shown))}">{_grid(frame)}{lines}{pointers}</svg>'
        f'<div class="xs" aria-hidden="true">{_labels(frame.widths, frame.x, "left", WIDTH)}</div></div>'
        '<output class="reading" aria-live="off"></output></figure>'
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """What part of the plane a chart shows."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return (value - self.left) / (self.right - self.left) * WIDTH

    def y(self, value: float) -> float:
        return HEIGHT - (value - self.low) / (self.high - self.low) * HEIGHT

    @property
    def heights(self) -> list[float]:
        return ticks(self.low, self.high)

    @property
    def widths(self) -> list[float]:
        return [value for value in ticks(self.left, self.right) if value == int(value) >= 0]


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers between two numbers."""
    rough = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _span(xs: Floats) -> tuple[float, float]:
    left, right = float(xs.min()), float(xs.max())
    room = (right - left) * _ROOM or 1.0
    return left - room, right + room


def _heights(several: Sequence[Floats]) -> tuple[float, float]:
    """Return the least and greatest value that is shown; of many, the wildest hundredth may lie outside."""
    low, high = math.inf, -math.inf
    for ys in several:
        finite = ys[np.isfinite(ys)]
        bottom, top = np.quantile(finite, (0.005, 0.995) if len(finite) > _MANY else (0.0, 1.0))
        low, high = min(low, float(bottom)), max(high, float(top))
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < (high - low) else low - room), high + room


def _line(curve: Curve, number: int, points: tuple[Floats, Floats], frame: _Frame) -> str:
    words, pen = [], "M"
    for x, y in zip(*points, strict=True):
        if not math.isfinite(y):
            pen = "M"
            continue
        words.append(f"{pen}{frame.x(x):.1f} {frame.y(y):.1f}" + ("h0" if pen == "M" else ""))
        pen = "L"
    kind = f"curve c{number % _COLOURS}{' faint' if curve.faint else ''}"
    path = f'<path class="{kind}" d="{"".join(words)}"/>'
    if not curve.dotted:
        return path
    dots = "".join(f"M{frame.x(x):.1f} {frame.y(y):.1f}h0" for x, y in zip(*points, strict=True) if math.isfinite(y))
    return path + f'<path class="{kind} dots" d="{dots}"/>'


def _mark(x: float) -> str:
    return f'<path class="skip" d="M{x:.1f} {HEIGHT}v-14"/>'


def _grid(frame: _Frame) -> str:
    lines = "".join(f"M0 {frame.y(value):.1f}H{WIDTH}" for value in frame.heights)
    return f'<path class="grid" d="{lines}"/>'


def _labels(values: Sequence[float], place: object, side: str, whole: int) -> str:
    assert callable(place)
    shares = [(value, place(value) / whole * 100) for value in values]
    return "".join(f'<span style="{side}:{share:.2f}%">{_short(value)}</span>' for value, share in shares)


def _short(value: float) -> str:
    """Return a number as charts show it: 5e-5, not 5e-05."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def _key(name: str, number: int, curve: Curve) -> str:
    faint = " faint" if curve.faint else ""
    return f'<span class="key"><i class="c{number % _COLOURS}{faint}"></i>{escape(name)}</span>'


def _summary(title: str, shown: Sequence[tuple[Curve, tuple[Floats, Floats]]]) -> str:
    parts = []
    for curve, (xs, ys) in shown:
        finite = np.isfinite(ys)
        first, last, least = ys[finite][0], ys[finite][-1], ys[finite].min()
        where = f"steps {xs[finite][0]:g} to {xs[finite][-1]:g}"
        parts.append(f"{curve.name}: {where}, from {first:.4g} to {last:.4g}, least {least:.4g}")
    return f"{title}. " + "; ".join(parts)


def _pairs(xs: Floats, ys: Floats) -> list[list[float]]:
    return [[float(x), float(f"{y:.5g}")] for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
