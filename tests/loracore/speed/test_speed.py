"""Options of speed in whole runs, and what is said of them before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.attention import SDPBackend
from torch.testing import assert_close

from loracore import Config, ConfigError, Models, hookimpl
from loracore.config.options import ModelOptions, SpeedOptions
from loracore.speed.speed import Speed, check_speed, speed_notes
from loracore.training.run import Run
from tests.toy_runs import TrainToy

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)


def config_of(**options: Any) -> Config:
    return Config([SpeedOptions(**options), ModelOptions()], {name: f"--{name}" for name in options})


def models_of(*layers: nn.Module) -> Models:
    return Models(denoiser=nn.Sequential(*layers), blocks={"unet": layers})


def test_a_compiled_run_trains_what_a_plain_one_does(train_toy: TrainToy) -> None:
    plain = load_file(train_toy("--output_name", "plain"))
    words = ("--torch_compile", "--dynamo_backend", "eager", "--opt_channels_last")
    path = train_toy("--output_name", "compiled", *words)
    assert_close(load_file(path), plain, rtol=1e-4, atol=1e-6)
    events = [json.loads(line) for line in next(path.parent.glob("compiled*/events.jsonl")).read_text().splitlines()]
    notes = [one["text"] for one in events if one["kind"] == "note"]
    assert any(note.startswith("torch_compile: ") and "graphs for" in note for note in notes)


@pytest.mark.parametrize("option", ["torch_compile", "cuda_graphs", "opt_channels_last"])
def test_shared_weights_cannot_be_made_fast_like_this(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} with FSDP") as caught:
        check_speed(config_of(**{option: True}), sharded=True, draws=False)
    assert caught.value.problems[0].where == f"--{option}"
    check_speed(config_of(), sharded=True, draws=True)


def test_a_network_that_leaves_things_out_cannot_be_recorded() -> None:
    with pytest.raises(ConfigError, match="leaves something out at random"):
        check_speed(config_of(cuda_graphs=True), sharded=False, draws=True)
    check_speed(config_of(cuda_graphs=True), sharded=False, draws=False)


@pytest.mark.parametrize("name", ["tensorrt", "tensort", "ipex", "onnxrt"])
def test_a_backend_that_is_not_installed_is_an_error_before_anything_is_encoded(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not installed.*take one of inductor, eager, aot_eager") as caught:
        check_speed(config_of(torch_compile=True, dynamo_backend=name), sharded=False, draws=False)
    assert caught.value.problems[0].where == "--dynamo_backend"
    check_speed(config_of(dynamo_backend=name), sharded=False, draws=False)
    check_speed(config_of(torch_compile=True, dynamo_backend="aot_eager"), sharded=False, draws=False)


def test_a_backend_that_records_on_cuda_alone_is_said() -> None:
    config = config_of(torch_compile=True, dynamo_backend="cudagraphs")
    (note,) = speed_notes(config, CPU, models_of(nn.Linear(2, 2)))
    assert note == "dynamo_backend cudagraphs records nothing on this device (cpu): it is of CUDA"
    assert list(speed_notes(config, CARD, models_of(nn.Linear(2, 2)))) == []


def test_weights_are_laid_out_only_where_blocks_convolve() -> None:
    first, speed = nn.Conv2d(2, 2, 3), Speed.of(config_of(opt_channels_last=True), CPU)
    block = nn.Linear(2, 2)
    speed.prepare(Models(denoiser=nn.Sequential(first, block), blocks={"unet": [block]}))
    assert not first.weight.is_contiguous(memory_format=torch.channels_last)
    speed.prepare(Models(denoiser=nn.Sequential(first, block), blocks={"unet": [first]}))
    assert first.weight.is_contiguous(memory_format=torch.channels_last)


def test_what_another_device_has_not_is_said() -> None:
    config = config_of(cuda_graphs=True, attention_backend="flash")
    models = models_of(nn.Linear(2, 2))
    assert list(speed_notes(config, CPU, models)) == [
        "cuda_graphs is without effect on this device (cpu): it is of CUDA",
        "attention_backend is without effect on this device (cpu): it is of CUDA",
    ]
    assert list(speed_notes(config, CARD, models)) == []
    assert not Speed.of(config, CPU).records


def test_channels_last_without_convolutions_is_said() -> None:
    config = config_of(opt_channels_last=True)
    assert list(speed_notes(config, CPU, models_of(nn.Conv2d(1, 1, 1)))) == []
    (note,) = speed_notes(config, CPU, models_of(nn.Linear(2, 2)))
    assert note == "opt_channels_last is without effect: the denoiser's blocks hold no convolutions"


def test_compiling_without_blocks_is_said() -> None:
    (note,) = speed_notes(config_of(torch_compile=True), CPU, Models(denoiser=nn.Linear(1, 1)))
    assert note == "torch_compile is without effect: this architecture names no blocks"


class Kernels:
    """Allows one kernel alone, as on a card, and sees where the unfused path is still allowed."""

    def __init__(self) -> None:
        self.unfused: dict[str, bool] = {}

    @hookimpl
    def run_started(self, run: Run) -> None:
        run.steps.speed.attention._allowed = [SDPBackend.FLASH_ATTENTION]

    @hookimpl(tryfirst=True)
    def predict_noise(self) -> None:
        self._see("step" if torch.is_grad_enabled() else "validation")

    @hookimpl(tryfirst=True)
    def generate_images(self) -> None:
        self._see("preview")

    def _see(self, where: str) -> None:
        self.unfused[where] = bool(torch.backends.cuda.math_sdp_enabled())  # type: ignore[no-untyped-call]  # torch's


def test_steps_validation_and_previews_allow_fused_kernels_alone(train_toy: TrainToy, tmp_path: Path) -> None:
    prompts, seen = tmp_path / "prompts.txt", Kernels()
    prompts.write_text("a red square --w 64 --h 64 --s 1", encoding="utf-8")
    words = ("--validation_split", "0.34", "--validate_every_n_steps", "1", "--max_train_steps", "1")
    train_toy(*words, "--sample_prompts", str(prompts), "--sample_at_first", plugin=seen)
    assert seen.unfused == {"step": False, "validation": False, "preview": False}


def test_a_misspelt_backend_is_the_one_that_is_meant() -> None:
    speed = Speed.of(config_of(torch_compile=True, dynamo_backend="tensort"), CPU)
    assert speed.compiler is not None
    assert speed.compiler.backend == "tensorrt"


def test_a_run_says_that_graphs_are_of_cuda(train_toy: TrainToy, tmp_path: Path) -> None:
    train_toy("--cuda_graphs")
    (log,) = (tmp_path / "out").glob("*/events.jsonl")
    started = json.loads(log.read_text(encoding="utf-8").splitlines()[0])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    said = any("cuda_graphs is without effect on this device" in note for note in started["notes"])
    assert said == (device == "cpu")
