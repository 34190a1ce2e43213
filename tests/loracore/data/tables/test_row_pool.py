from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from loracore.data.tables.row_pool import in_parcels


def test_answers_come_in_the_order_of_the_rows() -> None:
    found = in_parcels(lambda rows: [row * 10 for row in rows], np.arange(7), 3, 3)
    assert [(rows.tolist(), answer) for rows, answer in found] == [
        ([0, 1, 2], [0, 10, 20]),
        ([3, 4, 5], [30, 40, 50]),
        ([6], [60]),
    ]


def test_leaving_early_drops_what_has_not_begun() -> None:
    begun: list[int] = []

    def work(rows: Sequence[int]) -> None:
        begun.extend(rows)
        time.sleep(0.01)

    answers = in_parcels(work, np.arange(1000), 1, 1)
    next(answers)
    answers.close()  # type: ignore[attr-defined]  # a generator, which Iterator does not say
    assert len(begun) < 1000
