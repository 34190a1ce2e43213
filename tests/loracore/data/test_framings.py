from __future__ import annotations

import numpy as np

from loracore.data.framings import central, joined
from loracore.types import Framing


def test_a_row_is_a_framing() -> None:
    pairs = np.array([[100, 64], [10, 10]])
    framings = central(pairs, pairs, np.array([[64, 64], [0, 10]]))
    assert framings[0] == Framing((100, 64), (100, 64), (18, 0), (64, 64))
    assert framings.fits.tolist() == [True, False]


def test_joining_keeps_all_rows() -> None:
    pairs = np.array([[100, 64]])
    one = central(pairs, pairs, pairs)
    assert len(joined([one, one])) == 2
    assert len(joined([])) == 0
