from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from loracore import hookimpl
from tests.toy_runs import TrainToy

SET = """
[[datasets]]
resolution = 64
enable_bucket = true
min_bucket_reso = 32
max_bucket_reso = 128
bucket_reso_steps = 16
network_multiplier = {multiplier}
[[datasets.subsets]]
image_dir = '{folder}'
caption_extension = ".txt"
custom_attributes = {{ diff_output_preservation = {preserves} }}
"""


class Losses:
    def __init__(self) -> None:
        self.values: list[float] = []

    @hookimpl
    def step_done(self, loss: Tensor) -> None:
        self.values.append(loss.item())


@pytest.fixture
def data_set(pictures: Path, tmp_path: Path) -> Path:
    return tmp_path / "data.toml"


def written(path: Path, pictures: Path, *, preserves: bool = False, multiplier: float = 1.0) -> tuple[str, str]:
    text = SET.format(folder=pictures, preserves=str(preserves).lower(), multiplier=multiplier)
    path.write_text(text, encoding="utf-8")
    return "--dataset_config", str(path)


def moved(file: Path) -> bool:
    return any(tensor.abs().max() > 0 for name, tensor in load_file(file).items() if "lora_up" in name)


def test_samples_that_preserve_the_base_model_teach_nothing(
    train_toy: TrainToy, data_set: Path, pictures: Path
) -> None:
    losses = Losses()
    file = train_toy(*written(data_set, pictures, preserves=True), plugin=losses)
    assert losses.values == [0.0] * len(losses.values)
    assert not moved(file)


def test_samples_preserve_what_an_adapter_had_changed(train_toy: TrainToy, data_set: Path, pictures: Path) -> None:
    plain = written(data_set, pictures)
    trained = train_toy(*plain)
    losses = Losses()
    preserving = written(data_set, pictures, preserves=True)
    train_toy(*preserving, "--network_weights", str(trained), "--output_name", "second", plugin=losses)
    assert losses.values[0] > losses.values[-1] > 0


def test_a_multiplier_of_zero_leaves_the_network_as_it_was(train_toy: TrainToy, data_set: Path, pictures: Path) -> None:
    assert moved(train_toy(*written(data_set, pictures)))
    assert not moved(train_toy(*written(data_set, pictures, multiplier=0.0), "--overwrite"))


def test_a_multiplier_scales_what_the_adapters_add(train_toy: TrainToy, data_set: Path, pictures: Path) -> None:
    outputs: dict[float, Tensor] = {}

    class Recorder:
        multiplier = 1.0

        @hookimpl(wrapper=True)
        def predict_noise(self) -> Generator[None, object, object]:
            prediction = yield
            outputs.setdefault(self.multiplier, prediction.output.detach())  # type: ignore[attr-defined]  # a Prediction
            return prediction

    trained = train_toy(*written(data_set, pictures))
    for multiplier in (0.0, 1.0, 2.0):
        recorder = Recorder()
        recorder.multiplier = multiplier
        words = written(data_set, pictures, multiplier=multiplier)
        train_toy(*words, "--network_weights", str(trained), "--overwrite", "--output_name", "b", plugin=recorder)
    assert not torch.allclose(outputs[1.0], outputs[0.0])
    assert not torch.allclose(outputs[2.0], outputs[1.0])
