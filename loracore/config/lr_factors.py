"""Factors of the learning rate of several blocks, as the field writes them: a list, or the name of a curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from loracore.errors import ConfigError, did_you_mean

#: Name → factor at a place in [0, 1], from the first block of a group to its last one.
_CURVES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "sine": lambda place: math.sin(math.pi / 2 * place),
        "cosine": lambda place: math.sin(math.pi / 2 * (1 - place)),
        "linear": lambda place: place,
        "reverse_linear": lambda place: 1 - place,
        "zeros": lambda _: 0.0,
    }
)
_NO_CURVE = "write one number for each block, separated by commas, or zeros+0.5 for 0.5 everywhere"


def as_text(value: Any) -> Any:  # whatever stands in a configuration file
    """Return a TOML list as the text that the command line would have; anything else as it is."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def lr_factors(text: str, count: int, *, curves: bool) -> tuple[float, ...]:
    """Return the factors of ``count`` blocks: a list has those that are written, a curve as many as are needed.

    With ``curves``, a text without a comma is ``name`` or ``name+offset``. Raises ConfigError for unknown curves, and
    for what is no number, 0 or more.
    """
    if curves and "," not in text:
        return _curve(text, count)
    return tuple(_factor(item) if item.strip() else 0.0 for item in text.split(","))


def _curve(text: str, count: int) -> tuple[float, ...]:
    name, plus, offset = (word.strip() for word in text.partition("+"))
    if name not in _CURVES:
        message = f"'{name}' is none of the curves {', '.join(_CURVES)}"
        raise ConfigError(message, fix=did_you_mean(name, _CURVES) or _NO_CURVE)
    raised = _factor(offset) if plus else 0.0
    last = max(count - 1, 1)
    return tuple(_CURVES[name](number / last) + raised for number in range(count))


def _factor(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        message = f"'{text.strip()}' is no number, 0 or more"
        raise ConfigError(message, fix="write numbers, separated by commas")
    return found
