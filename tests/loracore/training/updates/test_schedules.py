from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from loracore.training.updates.schedules import Schedule, schedule_factor, warmup_steps

CURVES = ["constant", "constant_with_warmup_ratio_0.1", "cosine"]


@pytest.mark.parametrize("name", CURVES)
def test_curves_equal_the_fields(data: Path, name: str) -> None:
    curve = json.loads((data / "training.json").read_text(encoding="utf-8"))["lr_schedulers"]["curves"][name]
    options = curve["options"]
    warmup = warmup_steps(options.get("lr_warmup_steps", 0), 100)
    factor = schedule_factor(options["lr_scheduler"], warmup, 100)
    assert [factor(step) for step in curve["step"]] == pytest.approx(curve["lr"], abs=1e-7)


def test_every_group_keeps_its_own_rate() -> None:
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate, "name": name}
        for name, rate in {"unet": 1.0, "textencoder 1": 0.5}.items()
    ]
    schedule = Schedule(torch.optim.SGD(groups, lr=1), schedule_factor("cosine", 0, 2))
    schedule.step()
    assert schedule.rates() == pytest.approx({"unet": 0.5, "textencoder 1": 0.25})
    assert schedule.base_rates() == {"unet": 1.0, "textencoder 1": 0.5}
