from __future__ import annotations

from typing import Any

import pytest

from loracore.config.config import Config
from loracore.config.options import CORE_OPTIONS, NetworkOptions
from loracore.defaults.findings.block_findings import block_findings
from tests.loracore.defaults.findings.test_checks import fates


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"block_dims": (1, -1)}, {"block_dims": "wrong"}),
        ({"block_dims": (1,), "block_alphas": (-1.0,)}, {"block_alphas": "wrong"}),
        ({"down_lr_weight": "sin", "up_lr_weight": "1,x"}, {"down_lr_weight": "wrong", "up_lr_weight": "wrong"}),
        ({"mid_lr_weight": "sine"}, {"mid_lr_weight": "wrong"}),
        ({"mid_lr_weight": "1", "down_lr_weight": "zeros+.5", "up_lr_weight": "1,,"}, {}),
        ({"block_alphas": (1.0,)}, {"block_alphas": "without effect"}),
        ({"block_alphas": (1.0,), "mid_lr_weight": "1"}, {}),
        ({"block_dims": (1,), "conv_block_alphas": (1.0,)}, {"conv_block_alphas": "without effect"}),
        ({"conv_block_dims": (1,), "conv_block_alphas": (1.0,), "block_alphas": (1.0,)}, {}),
        ({"block_dims": (1,), "block_lr_zero_threshold": 0.1}, {"block_lr_zero_threshold": "without effect"}),
        (
            {"dim_from_weights": True, "network_weights": "a", "block_dims": (1,), "mid_lr_weight": "1"},
            {"block_dims": "without effect"},
        ),
        (
            {"network_train_text_encoder_only": True, "block_dims": (1,), "up_lr_weight": "sine"},
            {"block_dims": "without effect", "up_lr_weight": "without effect"},
        ),
        (
            {"network_train_text_encoder_only": True, "loraplus_unet_lr_ratio": 4.0, "loraplus_lr_ratio": 2.0},
            {"loraplus_unet_lr_ratio": "without effect"},
        ),
        (
            {"network_train_unet_only": True, "loraplus_text_encoder_lr_ratio": 4.0},
            {"loraplus_text_encoder_lr_ratio": "without effect"},
        ),
        (
            {"loraplus_lr_ratio": 2.0, "loraplus_unet_lr_ratio": 4.0, "loraplus_text_encoder_lr_ratio": 4.0},
            {"loraplus_lr_ratio": "without effect"},
        ),
        (
            {"loraplus_lr_ratio": 2.0, "loraplus_unet_lr_ratio": 4.0, "network_train_unet_only": True},
            {"loraplus_lr_ratio": "without effect"},
        ),
        (
            {
                "loraplus_lr_ratio": 2.0,
                "loraplus_text_encoder_lr_ratio": 0.0,
                "network_train_text_encoder_only": True,
            },
            {"loraplus_lr_ratio": "without effect"},
        ),
        ({"loraplus_lr_ratio": 2.0, "loraplus_unet_lr_ratio": 0.0}, {}),
    ],
)
def test_contradictions_of_blocks_and_lora_plus_are_found(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert {name: fate for name, fate in fates(**options).items() if name in options} == expected


def test_what_network_args_may_hold_is_named_by_the_finding() -> None:
    tables = [
        table(network_train_text_encoder_only=True) if table is NetworkOptions else table() for table in CORE_OPTIONS
    ]
    (one,) = block_findings(Config(tables, {"loraplus_unet_lr_ratio": "--network_args"}))
    assert one.message.startswith("loraplus_unet_lr_ratio has no effect")


def test_a_wrong_curve_names_the_nearest() -> None:
    tables = [table(up_lr_weight="cosin") if hasattr(table, "lr_weights") else table() for table in CORE_OPTIONS]
    found = list(block_findings(Config(tables, {"up_lr_weight": "--up_lr_weight"})))
    assert [(finding.message, finding.fix) for finding in found] == [
        (
            "up_lr_weight: 'cosin' is none of the curves sine, cosine, linear, reverse_linear, zeros",
            "did you mean 'cosine'?",
        )
    ]
