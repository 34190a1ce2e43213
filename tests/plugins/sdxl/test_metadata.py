from __future__ import annotations

from loracore_sdxl import metadata

from tests.plugins.sdxl.runs import config_of


def test_file_says_what_it_is_for() -> None:
    said = metadata.of(config_of())
    assert said["ss_base_model_version"] == "sdxl_base_v1-0"
    assert said["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert said["modelspec.prediction_type"] == "epsilon"
    assert "modelspec.encoder_layer" not in said


def test_values_are_spelled_as_python_does() -> None:
    said = metadata.of(config_of(v_parameterization=True, zero_terminal_snr=True, min_snr_gamma=5.0))
    assert said["modelspec.prediction_type"] == "v"
    assert (said["ss_zero_terminal_snr"], said["ss_min_snr_gamma"]) == ("True", "5.0")
    assert (said["ss_max_token_length"], said["ss_v2"]) == ("None", "False")
