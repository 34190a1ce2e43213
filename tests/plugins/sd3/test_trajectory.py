"""Twenty training steps with every random draw injected must give the reference trainer's losses and LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diffusers import SD3Transformer2DModel
from loracore_sd3.names import transformer_names

from tests.plugins.sd3 import tiny
from tests.plugins.trajectories import assert_followed, flags, golden, golden_weights


def write_model(folder: Path, weights: Path, config: dict[str, Any]) -> Path:
    """Write the golden transformer, with text encoders and VAE that the run loads and the injected batch ignores."""
    tiny.write_folder(folder)
    transformer = SD3Transformer2DModel(**{**config, "dual_attention_layers": (), "qk_norm": None})
    tensors, places = golden_weights(weights), transformer_names(transformer)
    transformer.load_state_dict({name: place.from_file(tensors[place.name]) for name, place in places.items()})
    transformer.save_pretrained(folder / "transformer")
    return folder


@pytest.mark.parametrize("name", ["sd3-sigma_sqrt", "sd3-uniform"])
def test_the_trajectory_is_the_references(data: Path, tmp_path: Path, name: str) -> None:
    found = golden(data)
    case = found["cases"][name]
    model = write_model(tmp_path / "model", data / case["base_weights"], found["diffusers_config_sd3"])
    assert_followed(case, data, model, tmp_path, ["--arch", "sd3", *flags(case["options"])])
