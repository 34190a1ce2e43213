"""Whole runs on frozen weights in fewer bits: what they say, previews, validation, and resuming."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore import ConfigError, LoracoreError
from loracore.memory.quantised.forms import FORMS
from tests.resumed_runs import assert_resumes_exactly, interrupted
from tests.toy_runs import TrainToy


@pytest.mark.parametrize("form", FORMS)
def test_the_header_tells_of_it(train_toy: TrainToy, capsys: pytest.CaptureFixture[str], form: str) -> None:
    train_toy("--base_model_precision", form, "--max_train_steps", "1", "--validation_split", "0.4")
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert f"memory       matrices of the denoiser stored as {form}" in lines
    (note,) = (line for line in lines if "matrices of the denoiser stored as" in line and line.startswith("note"))
    assert "MiB; largest relative error " in note


def test_a_run_that_is_resumed_is_the_run_that_never_stopped(train_toy: TrainToy, tmp_path: Path) -> None:
    flags = ("--base_model_precision", "nf4", "--max_train_steps", "4", "--seed", "0")
    assert_resumes_exactly(train_toy, tmp_path, (2,), flags)


def test_a_run_is_not_resumed_in_another_precision(train_toy: TrainToy) -> None:
    state = interrupted(train_toy, 2, "--base_model_precision", "int8", "--max_train_steps", "4")
    with pytest.raises(LoracoreError, match="base_model_precision is fp8_scaled, the state's run had int8"):
        train_toy("--base_model_precision", "fp8_scaled", "--max_train_steps", "4", "--resume", str(state))


def test_two_ways_to_store_weights_contradict_each_other(train_toy: TrainToy) -> None:
    with pytest.raises(ConfigError, match="both say how the denoiser's weights are stored"):
        train_toy("--base_model_precision", "int8", "--fp8_base")
