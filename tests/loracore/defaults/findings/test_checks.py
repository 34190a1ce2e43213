from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from loracore import Config
from loracore.config.options import CORE_OPTIONS
from loracore.defaults.findings.checks import check_options


def fates(**options: Any) -> dict[str, str]:
    """Return what is said of some options, by option."""
    tables = [
        table(**{name: value for name, value in options.items() if name in {field.name for field in fields(table)}})
        for table in CORE_OPTIONS
    ]
    found = check_options(Config(tables, {name: f"--{name}" for name in options}))
    return {finding.option: finding.fate for finding in found}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        (
            {"network_train_unet_only": True, "network_train_text_encoder_only": True},
            {"network_train_text_encoder_only": "wrong"},
        ),
        ({"cache_text_encoder_outputs": True, "network_train_unet_only": True}, {}),
        (
            {"text_encoder_lr": (1e-5,), "network_train_unet_only": True},
            {"text_encoder_lr": "without effect"},
        ),
        ({"unet_lr": 1e-5, "network_train_text_encoder_only": True}, {"unet_lr": "without effect"}),
        ({"text_encoder_lr": (-1.0,)}, {"text_encoder_lr": "wrong"}),
        ({"dim_from_weights": True}, {"dim_from_weights": "wrong"}),
        (
            {"dim_from_weights": True, "network_weights": "a.safetensors", "network_dim": 4},
            {"network_dim": "without effect"},
        ),
        ({"lr_warmup_steps": 10}, {"lr_warmup_steps": "wrong"}),
        ({"lr_warmup_steps": 10, "lr_scheduler": "cosine"}, {}),
        ({"min_timestep": 500, "max_timestep": 500}, {"min_timestep": "wrong"}),
        ({"max_train_epochs": 1, "max_train_steps": 5}, {"max_train_steps": "without effect"}),
        ({"output_name": "a/b"}, {"output_name": "wrong"}),
        ({"output_name": "my lora v1.2"}, {}),
        ({"vae_batch_size": 2, "cache_latents": False}, {"vae_batch_size": "without effect"}),
        (
            {"vae_batch_size": 2, "cache_latents": False, "cache_latents_to_disk": True},
            {"cache_latents": "without effect"},
        ),
        ({"cache_latents_to_disk": True}, {}),
        (
            {
                "cache_text_encoder_outputs_to_disk": True,
                "cache_text_encoder_outputs": False,
                "network_train_unet_only": True,
            },
            {"cache_text_encoder_outputs": "without effect"},
        ),
        ({"caption_extention": ".txt"}, {"caption_extention": "without effect"}),
        ({"persistent_data_loader_workers": True}, {"persistent_data_loader_workers": "without effect"}),
        ({"skip_cache_check": True}, {"skip_cache_check": "without effect"}),
        ({"cache_info": True}, {"cache_info": "without effect"}),
        ({"debug_dataset": True}, {"debug_dataset": "unsupported"}),
        ({"dataset_class": "mine.Own"}, {"dataset_class": "unsupported"}),
    ],
)
def test_contradictions_are_found(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert fates(**options) == expected
