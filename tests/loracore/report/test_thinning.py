from __future__ import annotations

import numpy as np

from loracore.report.thinning import thinned


def test_a_short_curve_stays_as_it_is() -> None:
    xs, ys = thinned([1, 2, 3], [1.0, float("nan"), 2.0])
    assert len(xs) == 3
    assert np.isnan(ys[1])


def test_no_spike_is_lost_and_the_order_stays() -> None:
    ys = np.zeros(100_000)
    ys[[17, 54_321, 99_998]] = (5.0, -3.0, 7.0)
    across, up = thinned(range(100_000), ys.tolist(), columns=100)
    assert len(across) <= 200
    assert (np.diff(across) > 0).all()
    assert {(17.0, 5.0), (54_321.0, -3.0), (99_998.0, 7.0)} <= set(zip(across.tolist(), up.tolist(), strict=True))


def test_each_column_keeps_its_least_and_its_greatest() -> None:
    rng = np.random.default_rng(0)
    ys = rng.normal(size=10_000)
    _, up = thinned(range(10_000), ys.tolist(), columns=50)
    column = np.minimum(np.arange(10_000) / 9_999 * 50, 49).astype(int)
    expected = {f(ys[column == number]) for number in range(50) for f in (np.min, np.max)}
    assert set(up) == expected
