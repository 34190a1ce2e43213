"""Every option of the field is declared, refused with a reason, or another architecture's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loracore import ConfigError, PluginOptions
from loracore.cli.choice import plugin_options
from loracore.cli.request import read_request
from loracore.config.refused import refusal


@pytest.mark.parametrize("arch", ["sdxl", "sd3"])
def test_no_option_of_the_field_is_a_stranger(arch: str, data: Path) -> None:
    known = json.loads((data / "training.json").read_text("utf-8"))["options"]
    declared = plugin_options(PluginOptions(arch=arch))
    lacking = {name for name in (*known["common"], *known[f"{arch}_extra"]) if name not in declared.options}
    lacking -= {name for name in lacking if refusal(name) or name in declared.refused}
    assert lacking - {"config_file", "output_config"} == set()


@pytest.mark.parametrize("arch", ["sdxl", "sd3"])
def test_nothing_is_refused_that_is_declared(arch: str) -> None:
    assert [name for name in plugin_options(PluginOptions(arch=arch)).options if refusal(name)] == []


def test_a_refused_option_says_why_and_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        read_request(["--arch", "sdxl", "--zero_stage", "2", "--offload_param_device", "cpu"])
    second, first = sorted(map(str, caught.value.problems))
    assert first.startswith("--zero_stage: zero_stage is not supported: there is no DeepSpeed")
    assert second.startswith("--offload_param_device: offload_param_device is not supported: there is no DeepSpeed")


def test_what_belongs_to_other_noise_and_is_off_has_no_effect(toy_site: Path, tmp_path: Path) -> None:
    _ = toy_site
    file = tmp_path / "c.toml"
    file.write_text('arch = "sd3"\nmin_snr_gamma = 0\n', encoding="utf-8")
    notes = read_request([str(file), "--ip_noise_gamma", "0"]).notes
    for name in ("min_snr_gamma", "ip_noise_gamma"):
        assert any(f"{name} has no effect: it is for denoisers" in str(note) for note in notes)


def test_flow_matching_says_what_belongs_to_other_noise() -> None:
    with pytest.raises(ConfigError) as caught:
        read_request(["--arch", "sd3", "--multires_noise_iterations", "6"])
    (problem,) = caught.value.problems
    assert problem.message.startswith("multires_noise_iterations is not supported: it is for denoisers trained with")
    assert problem.fix == "leave it out"
