from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from loracore import Config
from loracore.config.options import CORE_OPTIONS
from loracore.defaults.findings.saving_findings import saving_findings


def fates(**options: Any) -> dict[str, str]:
    tables = [
        table(**{name: value for name, value in options.items() if name in {field.name for field in fields(table)}})
        for table in CORE_OPTIONS
    ]
    found = saving_findings(Config(tables, {name: f"--{name}" for name in options}))
    return {finding.option: finding.fate for finding in found}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"output_name": " "}, {"output_name": "wrong"}),
        ({"save_last_n_epochs": 2}, {"save_last_n_epochs": "without effect"}),
        ({"save_last_n_epochs": 2, "save_every_n_epochs": 0}, {"save_last_n_epochs": "without effect"}),
        ({"save_last_n_epochs": 2, "save_every_n_epochs": 1}, {}),
        ({"save_last_n_epochs": 2, "save_n_epoch_ratio": 3}, {}),
        ({"save_last_n_steps": 20}, {"save_last_n_steps": "without effect"}),
        ({"save_last_n_steps": 20, "save_every_n_steps": 5}, {}),
        ({"save_n_epoch_ratio": 3, "save_every_n_epochs": 1}, {"save_every_n_epochs": "without effect"}),
        ({"save_state": True}, {"save_state": "without effect"}),
        ({"save_state": True, "save_every_n_steps": 5}, {}),
        (
            {"save_state": True, "save_every_n_steps": 5, "save_last_n_epochs_state": 1},
            {"save_last_n_epochs_state": "without effect"},
        ),
        ({"ema_decay": 0.9}, {"ema_decay": "without effect"}),
        ({"ema_decay": 0.9, "use_ema": True}, {}),
        ({"save_model_as": "ckpt"}, {"save_model_as": "without effect"}),
        ({"no_metadata": True, "metadata_title": "x"}, {}),
        ({"no_metadata": True, "training_comment": "x"}, {"training_comment": "without effect"}),
        (
            {"save_model_as": "pt", "metadata_title": "x", "training_comment": "y", "no_metadata": True},
            dict.fromkeys(("save_model_as", "metadata_title", "training_comment", "no_metadata"), "without effect"),
        ),
        ({"metadata_thumbnail": "gone.png"}, {"metadata_thumbnail": "wrong"}),
        ({"metadata_thumbnail": "data:image/png;base64,AA=="}, {}),
    ],
)
def test_options_have_their_fates(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert fates(**options) == expected


def test_a_thumbnail_is_a_picture(tmp_path: Path) -> None:
    for name, expected in (("a.txt", {"metadata_thumbnail": "wrong"}), ("a.webp", {})):
        (tmp_path / name).touch()
        assert fates(metadata_thumbnail=str(tmp_path / name)) == expected
