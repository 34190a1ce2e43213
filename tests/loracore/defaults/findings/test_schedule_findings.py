from __future__ import annotations

from typing import Any

import pytest

from tests.loracore.defaults.findings.test_optimizer_findings import found

WSD = {"lr_scheduler": "warmup_stable_decay"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"lr_warmup_steps": 10}, {"lr_warmup_steps": "wrong"}),
        ({"lr_warmup_steps": 10, "lr_scheduler": "constant_with_warmup"}, {}),
        (
            {"lr_warmup_steps": 10, "lr_scheduler": "cosine", "max_train_steps": 5},
            {"lr_warmup_steps": "without effect"},
        ),
        ({"lr_scheduler": "cosine", "lr_scheduler_num_cycles": 3}, {"lr_scheduler_num_cycles": "without effect"}),
        ({"lr_scheduler": "cosine", "lr_scheduler_args": ("num_cycles=1.5",)}, {}),
        ({"lr_scheduler": "cosine", "lr_scheduler_args": ("num_cicles=1",)}, {"lr_scheduler_args": "wrong"}),
        ({"lr_scheduler": "cosine", "lr_scheduler_args": ("nonsense",)}, {"lr_scheduler_args": "wrong"}),
        ({"lr_scheduler": "linear", "lr_scheduler_power": 2.0}, {"lr_scheduler_power": "without effect"}),
        ({"lr_scheduler": "cosine", "lr_decay_steps": 2}, {"lr_decay_steps": "without effect"}),
        ({"lr_scheduler": "cosine_with_min_lr"}, {"lr_scheduler": "wrong"}),
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1}, {}),
        (
            {
                "lr_scheduler": "cosine_with_min_lr",
                "lr_scheduler_min_lr_ratio": 0.1,
                "lr_scheduler_args": ("min_lr=1e-7",),
            },
            {"lr_scheduler_args": "wrong"},
        ),
        (WSD, {"lr_scheduler": "without effect"}),
        ({**WSD, "lr_decay_steps": 0.2}, {}),
        ({**WSD, "lr_decay_steps": 20, "max_train_steps": 10}, {"lr_decay_steps": "wrong"}),
        ({"lr_scheduler": "piecewise_constant"}, {"lr_scheduler_args": "wrong"}),
        (
            {"lr_scheduler": "piecewise_constant", "lr_scheduler_args": ("step_rules=1:9,0.1",), "lr_warmup_steps": 3},
            {"lr_warmup_steps": "without effect"},
        ),
        ({"lr_scheduler_type": "StepLR", "lr_warmup_steps": 3}, {"lr_warmup_steps": "wrong"}),
        ({"lr_scheduler_type": "StepLR", "lr_scheduler": "cosine"}, {"lr_scheduler": "without effect"}),
        ({"lr_scheduler_type": "StepLr"}, {"lr_scheduler_type": "wrong"}),
        ({"lr_scheduler_type": "ReduceLROnPlateau"}, {"lr_scheduler_type": "wrong"}),
        ({"max_train_epochs": 2, "max_train_steps": 9}, {"max_train_steps": "without effect"}),
        (
            {"optimizer_type": "AdamWScheduleFree", "lr_scheduler": "cosine", "lr_warmup_steps": 3},
            dict.fromkeys(("lr_scheduler", "lr_warmup_steps"), "without effect"),
        ),
        ({"optimizer_type": "AdamWScheduleFree", "lr_warmup_steps": 3}, {"lr_warmup_steps": "without effect"}),
    ],
)
def test_what_a_course_goes_with(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert {one.option: one.fate for one in found(**options)} == expected


def test_the_constant_course_with_a_warm_up_proposes_the_other() -> None:
    (one,) = found(lr_warmup_steps=10)
    assert one.fix == 'set lr_scheduler = "constant_with_warmup"'
