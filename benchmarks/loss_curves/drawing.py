"""The curves as a picture (SVG): what was lost, and below it how far each setting is from the plain way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_WIDTH, _LEFT, _NAMES = 640, 60, 190  # pixels: of the curves, of the scale, of the names
_HEIGHT, _GAP, _LINE = 240, 30, 15
#: Differences below one unit in the last place of float32 are drawn as that.
_SMALLEST = 2.0**-24


@dataclass(frozen=True, slots=True)
class _Panel:
    """A place for curves, and what its lowest and highest line stand for."""

    top: int
    lowest: float
    highest: float

    def height(self, value: float) -> float:
        """Return where a value is, in pixels from above; what is outside or no number is at the edge."""
        part = (value - self.lowest) / (self.highest - self.lowest or 1.0)
        return self.top + _HEIGHT * (1 - (min(max(part, 0.0), 1.0) if math.isfinite(part) else 1.0))

    def curve(self, values: Sequence[float], colour: str) -> str:
        """Return a line through the values of all steps."""
        apart = _WIDTH / max(1, len(values) - 1)
        points = " ".join(f"{_LEFT + apart * at:.1f},{self.height(one):.1f}" for at, one in enumerate(values))
        return f'<polyline points="{points}" fill="none" stroke="{colour}"/>'

    def scale(self, marks: Mapping[float, str]) -> Iterator[str]:
        """Give a line and a number for each mark."""
        for value, name in marks.items():
            y = self.height(value)
            yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDTH}" y2="{y:.1f}" stroke="#ddd"/>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'


def drawn(plain: Sequence[float], others: Mapping[str, Sequence[float]]) -> str:
    """Return the picture: on top the plain losses, below |loss - plain| / |plain| of each step, on a scale of tens."""
    losses = _Panel(_GAP, min(plain), max(plain))
    apart = _Panel(2 * _GAP + _HEIGHT, -8.0, 0.0)
    lines = [*losses.scale({value: f"{value:.2f}" for value in (min(plain), max(plain))})]
    lines += [*apart.scale({float(power): f"1e{power}" for power in range(-8, 1, 2)}), losses.curve(plain, "#000")]
    for number, (name, found) in enumerate(others.items()):
        colour = f"hsl({360 * number // len(others)} 70% 42%)"
        lines.append(apart.curve([_tens(a, b) for a, b in zip(plain, found, strict=True)], colour))
        place = apart.top + _LINE * (number + 1)
        lines.append(f'<text x="{_LEFT + _WIDTH + 10}" y="{place}" fill="{colour}">{name}</text>')
    lines.append(f'<text x="{_LEFT}" y="{_GAP - 10}">loss, computed plainly</text>')
    lines.append(f'<text x="{_LEFT}" y="{apart.top - 10}">relative difference of a step\'s loss</text>')
    size = f'width="{_LEFT + _WIDTH + _NAMES}" height="{apart.top + _HEIGHT + _GAP}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *lines, "</svg>", ""])


def _tens(plain: float, found: float) -> float:
    """Return the power of ten of a relative difference; what is no number is at the edge, too."""
    apart = abs(found - plain) / abs(plain)
    return math.log10(max(apart, _SMALLEST)) if math.isfinite(apart) else math.inf
