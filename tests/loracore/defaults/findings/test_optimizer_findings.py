from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from loracore import Config, Finding
from loracore.config.options import CORE_OPTIONS
from loracore.defaults.findings.checks import check_options

FIXED = ("relative_step=False",)


def found(**options: Any) -> list[Finding]:
    """Return what is said of some options."""
    tables = [
        table(**{name: value for name, value in options.items() if name in {field.name for field in fields(table)}})
        for table in CORE_OPTIONS
    ]
    return list(check_options(Config(tables, {name: f"--{name}" for name in options})))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"optimizer_args": FIXED, "learning_rate": 1e-3, "unet_lr": 1e-4}, {}),
        (
            {"learning_rate": 1e-3, "unet_lr": 1e-4, "text_encoder_lr": (1e-5,)},
            dict.fromkeys(("learning_rate", "unet_lr", "text_encoder_lr"), "without effect"),
        ),
        (
            {"optimizer_args": ("warmup_init=True", "relative_step=False"), "learning_rate": 1e-3},
            {"optimizer_args": "wrong"},
        ),
        ({"optimizer_args": ("warmup_init=True",), "learning_rate": 1e-3}, {"learning_rate": "without effect"}),
        ({"optimizer_args": ("warmup_init=False", "relative_step=False"), "learning_rate": 1e-3}, {}),
        ({"lr_scheduler": "cosine"}, {"lr_scheduler": "without effect"}),
        (
            {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 5},
            {"lr_scheduler": "without effect", "lr_warmup_steps": "wrong"},
        ),
        ({"optimizer_args": FIXED, "lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 5}, {}),
        ({"loraplus_lr_ratio": 4.0}, {"loraplus_lr_ratio": "wrong"}),
        ({"optimizer_args": ("nonsense",)}, {"optimizer_args": "wrong"}),
        ({"fused_backward_pass": True}, {}),
        ({"fused_backward_pass": True, "gradient_accumulation_steps": 2}, {"fused_backward_pass": "wrong"}),
        ({"fused_backward_pass": True, "mixed_precision": "fp16"}, {"fused_backward_pass": "wrong"}),
        ({"fused_backward_pass": True, "mixed_precision": "bf16"}, {}),
    ],
)
def test_what_adafactor_goes_with(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert {one.option: one.fate for one in found(optimizer_type="Adafactor", **options)} == expected


def test_the_way_to_given_rates_leads_into_no_contradiction() -> None:
    (one,) = found(optimizer_type="Adafactor", optimizer_args=("warmup_init=True",), learning_rate=1e-3)
    assert one.fix.endswith("in the place of warmup_init=True")


@pytest.mark.parametrize("name", ["loraplus_unet_lr_ratio", "down_lr_weight"])
def test_what_network_args_may_hold_is_named_by_the_finding(name: str) -> None:
    (one,) = found(optimizer_type="Adafactor", **{name: 2.0 if "ratio" in name else "sine"})
    assert one.message.startswith(f"{name}: ")


@pytest.mark.parametrize("optimizer", ["AdamW", "AdamW8bit"])
def test_fused_backward_pass_is_refused_with_others_and_says_why(optimizer: str) -> None:
    (one,) = found(fused_backward_pass=True, optimizer_type=optimizer)
    assert one.fate == "wrong"
    assert f"{optimizer} steps all of them at once" in one.message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"full_fp16": True, "mixed_precision": "fp16"}, {"full_fp16": "unsupported"}),
        ({"full_fp16": True, "mixed_precision": "fp16", "optimizer_type": "AdamW8bit"}, {}),
        ({"full_fp16": True, "mixed_precision": "fp16", "optimizer_type": "Adafactor"}, {}),
        ({"full_bf16": True, "mixed_precision": "bf16"}, {}),
        ({"full_fp16": True, "optimizer_type": "AdamW8bit"}, {"full_fp16": "wrong"}),
        ({"full_bf16": True, "mixed_precision": "fp16"}, {"full_bf16": "wrong"}),
        (
            {"full_fp16": True, "full_bf16": True, "mixed_precision": "bf16", "optimizer_type": "AdamW8bit"},
            {"full_fp16": "wrong"},
        ),
        ({"lowram": True}, {"lowram": "without effect"}),
        ({"lowram": True, "fp8_base": True}, {}),
        ({"lowram": True, "fp8_base_unet": True}, {}),
        ({"lowram": True, "fp8_base_unet": True, "blocks_to_swap": 2}, {"lowram": "without effect"}),
        ({"lowram": True, "fp8_base": True, "blocks_to_swap": 2}, {}),
        ({"base_model_precision": "nf4", "lowram": True}, {}),
        ({"base_model_precision": "nf4", "lowram": True, "blocks_to_swap": 2}, {"lowram": "without effect"}),
        ({"base_model_precision": "int8", "fp8_base": True}, {"base_model_precision": "wrong"}),
        ({"base_model_precision": "int8", "fp8_base_unet": True}, {"base_model_precision": "wrong"}),
        ({"base_model_precision": "given", "fp8_base_unet": True}, {}),
    ],
)
def test_precision_and_memory(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert {one.option: one.fate for one in found(**options)} == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"use_8bit_adam": True}, {"optimizer_type": "implied"}),
        ({"use_8bit_adam": True, "optimizer_type": ""}, {"optimizer_type": "implied"}),
        ({"use_lion_optimizer": True}, {"optimizer_type": "implied"}),
        ({"use_8bit_adam": True, "use_lion_optimizer": True}, {"use_lion_optimizer": "wrong"}),
        ({"use_8bit_adam": True, "optimizer_type": "AdamW"}, {"use_8bit_adam": "wrong"}),
        ({"optimizer_type": "AdamWW"}, {"optimizer_type": "wrong"}),
        ({"optimizer_type": "prodigy", "learning_rate": 1.0}, {}),
        ({"optimizer_type": "Prodigy", "learning_rate": 1.0, "unet_lr": 0.5}, {"unet_lr": "wrong"}),
        ({"optimizer_type": "Prodigy", "unet_lr": 0.5, "network_train_unet_only": True}, {}),
        ({"optimizer_type": "DAdaptAdam", "unet_lr": 1.0, "text_encoder_lr": (0.0,)}, {}),
        (
            {"optimizer_type": "DAdaptAdam", "learning_rate": 1.0, "loraplus_lr_ratio": 4.0},
            {"loraplus_lr_ratio": "wrong"},
        ),
        ({"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", "unet_lr": 0.5}, {}),
        (
            {"optimizer_type": "Prodigy", "full_fp16": True, "mixed_precision": "fp16", "learning_rate": 1.0},
            {"full_fp16": "unsupported"},
        ),
    ],
)
def test_what_other_optimizers_go_with(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert {one.option: one.fate for one in found(**options)} == expected


def test_old_spellings_say_what_they_mean() -> None:
    assert [one.value for one in found(use_8bit_adam=True)] == ["AdamW8bit"]


@pytest.mark.parametrize(
    ("name", "fates"),
    [
        ("AdamWScheduleFree", {"use_ema": "wrong"}),
        ("prodigyplus.ProdigyPlusScheduleFree", {"use_ema": "wrong"}),
        ("AdamW", {}),
    ],
)
def test_one_average_of_the_weights_is_enough(name: str, fates: dict[str, str]) -> None:
    assert {one.option: one.fate for one in found(optimizer_type=name, use_ema=True)} == fates
