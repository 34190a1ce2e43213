"""Every option of the field is declared, refused with a reason, or another architecture's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loracore import ConfigError, PluginOptions
from loracore.cli.choice import plugin_options
from loracore.cli.request import read_request
from loracore.config.refused import refusal

#: Options of one architecture that the field's other program takes and drops.
ELSEWHERE = {
    "sdxl": frozenset[str](),
    "sd3": frozenset(
        {
            "noise_offset",
            "noise_offset_random_strength",
            "multires_noise_iterations",
            "multires_noise_discount",
            "ip_noise_gamma",
            "ip_noise_gamma_random_strength",
            "adaptive_noise_scale",
            "zero_terminal_snr",
            "min_snr_gamma",
            "scale_v_pred_loss_like_noise_pred",
            "v_pred_like_loss",
            "debiased_estimation_loss",
        }
    ),
}


@pytest.mark.parametrize("arch", ["sdxl", "sd3"])
def test_no_option_of_the_field_is_a_stranger(arch: str, data: Path) -> None:
    known = json.loads((data / "training.json").read_text("utf-8"))["options"]
    declared = plugin_options(PluginOptions(arch=arch)).options
    lacking = {name for name in (*known["common"], *known[f"{arch}_extra"]) if name not in declared}
    lacking -= {name for name in lacking if refusal(name)} | ELSEWHERE[arch]
    assert lacking - {"config_file", "output_config"} == set()


@pytest.mark.parametrize("arch", ["sdxl", "sd3"])
def test_nothing_is_refused_that_is_declared(arch: str) -> None:
    assert [name for name in plugin_options(PluginOptions(arch=arch)).options if refusal(name)] == []


def test_a_refused_option_says_why_and_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        read_request(["--arch", "sdxl", "--zero_stage", "2", "--torch_compile"])
    second, first = sorted(map(str, caught.value.problems))
    assert first.startswith("--zero_stage: zero_stage is not supported: there is no DeepSpeed")
    assert second.startswith("--torch_compile: torch_compile is not supported: models are not compiled (leave it out")
