"""The demo must teach the tiny model its concept, and leave it what it knew; a broken gradient must show."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from loracore import Prediction, hookimpl
from loracore.cli.demo import demos, prepared
from loracore.demo.demo import run_demo
from tests.conftest import RunCli

CONCEPT = "samples nearer to the concept than to any plain thing"
GROUND = "samples with the asked background"
ORDINARY = "ordinary captions drawn right"


def has_learnt(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Tell whether samples show the concept that they did not show, and ordinary captions still draw what they say."""
    concept = before[CONCEPT] <= 1 / 16 and after[CONCEPT] >= 13 / 16
    return concept and after[GROUND] >= 15 / 16 and before[ORDINARY] >= 0.9 and after[ORDINARY] >= 0.8


@pytest.mark.timeout(900)
def test_the_demo_learns_its_concept_and_forgets_nothing(cli: RunCli, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = cli("demo", "--output_dir", out, timeout=800)
    assert done.returncode == 0, done.stderr
    numbers = json.loads((out / "demo.json").read_text(encoding="utf-8"))
    assert has_learnt(numbers["before"], numbers["after"]), numbers
    with Image.open(out / "demo.png") as sheet, Image.open(out / "demo-loss.png") as curve:
        assert sheet.width > 12 * 128
        assert sheet.height > 5 * 128
        assert curve.width > 400
    assert len(load_file(out / "sks-fish.safetensors")) == 3 * 198  # every layer that conv_dim admits
    assert str(out / "sks-fish.safetensors") in done.stdout


class CutGradient:
    """Hides the adapters from the loss."""

    @hookimpl(wrapper=True)
    def predict_noise(self) -> Generator[None, Prediction, Prediction]:
        prediction = yield
        return replace(prediction, output=prediction.output.detach().requires_grad_())


@pytest.mark.timeout(300)
def test_a_cut_gradient_is_not_taken_for_learning(tmp_path: Path) -> None:
    kit = demos("sdxl")["sdxl"]
    request, datasets = prepared(["--max_train_steps", "4", "--output_dir", str(tmp_path)], "sdxl", kit)
    request.plugins.register(CutGradient())
    result = run_demo(kit, request.config, request.plugins, datasets, tmp_path)
    assert not has_learnt(result.before, result.after)
    assert result.after == result.before
    assert all(not tensor.any() for name, tensor in load_file(result.network).items() if "lora_up" in name)
