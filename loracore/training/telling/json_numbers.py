"""Numbers as JSON knows them."""

from __future__ import annotations

import math


def json_number(number: float) -> float | None:
    """Return the number, None for one that JSON does not know: NaN and infinities."""
    return number if math.isfinite(number) else None
