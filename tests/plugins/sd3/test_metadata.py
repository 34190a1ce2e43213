from __future__ import annotations

import json
from pathlib import Path

import pytest
from loracore_sd3 import metadata

from loracore import Models
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import config_of


@pytest.mark.parametrize("style", ["medium", "5-medium", "5-large"])
def test_header_names_the_kind_of_base_model_as_the_field_does(data: Path, style: str) -> None:
    golden = json.loads((data / "training.json").read_text(encoding="utf-8"))["modelspec"]
    case = golden[f"sd3_{style}".replace("_5-", "_5_")]
    found = metadata.of(Models(denoiser=tiny.tiny_transformer(style)), config_of())
    assert found["ss_base_model_version"] == style
    own = {key: value for key, value in found.items() if key.startswith("modelspec.")}
    assert own.items() <= case.items()
    assert len(own) == 3


def test_header_tells_the_options_that_shape_training() -> None:
    options = {"weighting_scheme": "logit_normal", "logit_mean": 0.5, "training_shift": 3.0, "apply_t5_attn_mask": True}
    found = metadata.of(Models(denoiser=tiny.tiny_transformer()), config_of(**options, t5_dropout_rate=0.1))
    expected = {f"ss_{name}": str(value) for name, value in options.items()} | {"ss_t5_dropout_rate": "0.1"}
    assert expected.items() <= found.items()
    assert {"ss_apply_lg_attn_mask", "ss_logit_std", "ss_mode_scale", "ss_v2"} <= set(found)


def test_header_tells_nothing_of_the_users_folders() -> None:
    found = metadata.of(Models(denoiser=tiny.tiny_transformer()), config_of(clip_l="/home/somebody/clip.safetensors"))
    assert not any("somebody" in value for value in found.values())
