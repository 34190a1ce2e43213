"""What a base model says of itself reaches training, and is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from loracore_sdxl import metadata, models
from safetensors.torch import load_file, save_file

from loracore import ConfigError
from loracore.cli.request import Request, read_request
from loracore.diffusion.options import DdpmOptions
from tests.plugins.sdxl.runs import DENOISER, config_of


@pytest.fixture(scope="module")
def marked(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("marked") / "marked.safetensors"
    save_file(load_file(checkpoint) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, path)
    return path


def asked(model: Path, *words: str) -> Request:
    return read_request(["--arch", "sdxl", "--pretrained_model_name_or_path", str(model), *words])


def test_a_model_for_v_is_trained_and_told_as_one(marked: Path) -> None:
    request = asked(marked, "--scale_v_pred_loss_like_noise_pred")
    ddpm = request.config[DdpmOptions]
    assert (ddpm.v_parameterization, ddpm.zero_terminal_snr) == (True, True)
    assert f"{marked}: v_parameterization is on: the checkpoint is marked 'v_pred'" in request.notes
    told = metadata.of(request.config)
    assert (told["modelspec.prediction_type"], told["ss_zero_terminal_snr"]) == ("v", "True")


def test_a_switch_that_is_off_on_purpose_contradicts_the_model(marked: Path) -> None:
    with pytest.raises(ConfigError, match="v_parameterization is off, but the checkpoint is marked 'v_pred'"):
        asked(marked, "--no_v_parameterization")
    request = asked(marked, "--no_v_parameterization", "--ignore_model_marks")
    assert not request.config[DdpmOptions].v_parameterization
    assert any("ignore_model_marks" in note for note in request.notes)


def test_a_model_that_says_nothing_predicts_noise(checkpoint: Path) -> None:
    request = asked(checkpoint)
    assert not request.config[DdpmOptions].v_parameterization
    assert request.notes == ()


def test_a_pickle_is_compared_before_training(marked: Path, checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "marked.ckpt"
    torch.save(load_file(marked), path)
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    with pytest.raises(ConfigError, match="v_parameterization is off"):
        models.check(DENOISER, config_of(path, allow_pickle=True))
