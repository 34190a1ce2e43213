"""The operations of a full-size step: a figure that is the same on every machine, and may not creep up."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from benchmarks.kernel_counts import Counted, Launches, count, table

KEPT = Path(__file__).with_name("kernel_counts.json")
#: What issue 8 asks for: the plain style comes to about 12,100, casts not counted.
LIMIT = 6_700
RISE = 1.05


def test_a_full_size_step_asks_for_no_more_operations_than_it_did() -> None:
    found = count("SDXL", "ours")
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["SDXL"]
    assert found.total <= min(LIMIT, RISE * kept), found.launches.most_common(20)
    assert not found.waits


def test_views_and_room_are_not_counted_and_work_is() -> None:
    layer, inputs = nn.Linear(4, 3), torch.ones(2, 5, 4)
    with Launches() as watch:
        room = torch.empty(10, 3)
        room.copy_(layer(inputs.view(10, 4)))
    assert dict(watch.counted.launches) == {"addmm": 1, "copy_": 1}


def test_what_makes_the_host_wait_is_told() -> None:
    with Launches() as watch:
        assert torch.ones(3).sum().item() == 3
    assert watch.counted.waits == {"_local_scalar_dense": 1}


def test_the_table_has_a_row_for_each_model() -> None:
    with Launches() as watch:
        torch.ones(2) + 1
    one: Counted = watch.counted
    assert "| toy | 2 | 0 | 2 | 0 | 1.00 | 0 |" in table([("toy", one, one)], "here")
