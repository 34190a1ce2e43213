from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loracore_sdxl.options import findings
from safetensors.torch import load_file, save_file

from loracore import Finding
from loracore.config.dataset_spec import DatasetSpec
from tests.plugins.sdxl.runs import config_of


def told(model: Path | str | None = None, /, **options: object) -> list[Finding]:
    return list(findings(config_of(model, **options)))


def test_defaults_are_fine(folder: Path, checkpoint: Path) -> None:
    assert told(folder) == told(checkpoint) == told() == []


@pytest.mark.parametrize(
    ("options", "fate", "option"),
    [
        ({"v2": True}, "unsupported", "v2"),
        ({"clip_skip": 2}, "without effect", "clip_skip"),
        ({"scale_v_pred_loss_like_noise_pred": True}, "wrong", "scale_v_pred_loss_like_noise_pred"),
        ({"v_pred_like_loss": 1.0, "v_parameterization": True}, "wrong", "v_pred_like_loss"),
        ({"zero_terminal_snr": True}, "without effect", "zero_terminal_snr"),
        ({"min_snr_gamma": 5.0, "debiased_estimation_loss": True}, "without effect", "debiased_estimation_loss"),
        ({"max_token_length": 100}, "wrong", "max_token_length"),
        ({"text_encoder_lr1": 1e-5, "network_train_unet_only": True}, "without effect", "text_encoder_lr1"),
        ({"text_encoder_lr2": 1e-5, "network_train_unet_only": True}, "without effect", "text_encoder_lr2"),
        ({"text_encoder_lr": (1.0, 2.0, 3.0)}, "without effect", "text_encoder_lr"),
        ({"text_encoder_lr": (5e-3, 6e-3), "text_encoder_lr1": 1e-4}, "without effect", "text_encoder_lr"),
        ({"text_encoder_lr": (5e-3, 6e-3), "text_encoder_lr2": 1e-4}, "without effect", "text_encoder_lr"),
        ({"no_half_vae": True}, "without effect", "no_half_vae"),
        (
            {"text_encoder_lr": (1e-5,), "text_encoder_lr1": 1e-5, "text_encoder_lr2": 0.0},
            "without effect",
            "text_encoder_lr",
        ),
    ],
)
def test_each_mistake_is_told_once(options: dict[str, object], fate: str, option: str) -> None:
    assert [(finding.fate, finding.option) for finding in told(**options)] == [(fate, option)]


@pytest.mark.parametrize(
    "options",
    [
        {"v_parameterization": True, "zero_terminal_snr": True, "scale_v_pred_loss_like_noise_pred": True},
        {"v_pred_like_loss": 1.0, "min_snr_gamma": 5.0},
        {"max_token_length": 225},
        {"text_encoder_lr1": 1e-5, "text_encoder_lr2": 0.0},
        {"text_encoder_lr": (1e-5, 2e-5)},
        {"text_encoder_lr": (1e-5,), "text_encoder_lr2": 2e-5},
        {"text_encoder_lr": (1e-5,), "text_encoder_lr1": 2e-5},
        {"no_half_vae": True, "mixed_precision": "bf16"},
    ],
)
def test_sound_combinations_are_not_complained_about(options: dict[str, object]) -> None:
    assert told(**options) == []


def test_the_rate_that_is_of_no_encoder_is_named() -> None:
    (finding,) = told(text_encoder_lr=(5e-3, 6e-3), text_encoder_lr1=1e-4)
    assert "0.005 has no effect" in finding.message
    assert "text_encoder_lr1" in finding.message


@pytest.mark.parametrize("name", ["nowhere.safetensors", "./a/b/c", "C:\\models\\sdxl"])
def test_missing_model_is_told_before_anything_is_loaded(name: str) -> None:
    (finding,) = told(name)
    assert (finding.fate, finding.option) == ("wrong", "pretrained_model_name_or_path")
    assert name in finding.message


def test_model_may_stand_in_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert told(f"~/{folder.name}") == []


def test_hub_id_is_not_a_missing_file() -> None:
    assert told("owner/name") == []


def test_folder_without_a_model_is_told(tmp_path: Path) -> None:
    assert [finding.option for finding in told(tmp_path)] == ["pretrained_model_name_or_path"]


def test_pickle_is_told_unless_it_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"anything")
    assert "allow_pickle" in told(path)[0].fix
    assert told(path, allow_pickle=True) == []


def test_checkpoint_that_is_marked_as_another_kind_is_told(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "marked.safetensors"
    save_file(load_file(checkpoint) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, path)
    assert [finding.option for finding in told(path)] == ["v_parameterization", "zero_terminal_snr"]
    assert told(path, v_parameterization=True, zero_terminal_snr=True) == []


def test_options_and_their_check_import_no_torch(checkpoint: Path) -> None:
    code = (
        "import sys, loracore_sdxl as plugin\n"
        "from loracore import Config\n"
        "from loracore.config.options import CORE_OPTIONS\n"
        "config = Config([table() for table in (*CORE_OPTIONS, *plugin.options())], {})\n"
        f"config = config.with_values({{'pretrained_model_name_or_path': {str(checkpoint)!r}}})\n"
        "assert not plugin.check_options(config)\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("steps", "buckets", "resolution"), [(40, True, (1024, 1024)), (64, False, (1000, 1024)), (16, True, (1024, 1024))]
)
def test_pictures_come_in_multiples_of_32(steps: int, buckets: bool, resolution: tuple[int, int]) -> None:
    odd = DatasetSpec(resolution, 1, buckets, 256, 2048, steps, bucket_no_upscale=False, subsets=())
    (finding,) = findings(config_of().with_datasets([odd]))
    assert finding.fate == "wrong"
    assert "multiples of 32" in finding.message
