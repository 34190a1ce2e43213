"""What users really do wrong: each is one clear message, exit code 2, and nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import RunCli
from tests.plugins.sdxl import tiny

Break = Callable[[Path, Path], Path]  # (a whole model's folder, where to put the broken one) → what to give


def without_unet_weights(folder: Path, target: Path) -> Path:
    copy = Path(shutil.copytree(folder, target))
    next((copy / "unet").glob("*.safetensors")).unlink()
    return copy


def truncated_vae(folder: Path, target: Path) -> Path:
    copy = Path(shutil.copytree(folder, target))
    weights = next((copy / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1000])
    return copy


def truncated_checkpoint(_: Path, target: Path) -> Path:
    path = tiny.write_checkpoint(target.with_suffix(".safetensors"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def lora_as_model(_: Path, target: Path) -> Path:
    path = target.with_suffix(".safetensors")
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1)}, path)
    return path


def pickle(_: Path, target: Path) -> Path:
    path = target.with_suffix(".ckpt")
    torch.save({"state_dict": {}}, path)
    return path


def no_tokenizer(folder: Path, target: Path) -> Path:
    copy = Path(shutil.copytree(folder, target))
    shutil.rmtree(copy / "tokenizer_2")
    return copy


def missing(_: Path, target: Path) -> Path:
    return target / "nowhere" / "model.safetensors"


CASES: dict[str, tuple[Break, str]] = {
    "missing": (missing, "does not exist"),
    "no unet weights": (without_unet_weights, "no weights found"),
    "cut vae": (truncated_vae, "vae"),
    "cut checkpoint": (truncated_checkpoint, "tiny"),
    "lora": (lora_as_model, "a LoRA, not a base model"),
    "pickle": (pickle, "allow_pickle"),
    "tokenizer": (no_tokenizer, "tokenizer"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_be_used_is_said_before_anything_is_encoded(
    case: str, folder: Path, pictures: Path, tmp_path: Path, cli: RunCli
) -> None:
    damage, message = CASES[case]
    model = damage(folder, tmp_path / "tiny")
    out = tmp_path / "out"
    done = cli(
        *("train", "--arch", "sdxl", "--pretrained_model_name_or_path", model, "--output_dir", out),
        *("--train_data_dir", pictures, "--resolution", "64", "--max_train_steps", "1"),
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "captions:" not in done.stderr
    assert not out.exists() or not list(out.iterdir())
