from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loracore import Config, NetworkOptions
from loracore.training.assembly.base_weight_findings import base_weight_findings


def said(files: tuple[str, ...], ratios: tuple[float, ...] = ()) -> list[str]:
    table = NetworkOptions(base_weights=files, base_weights_multiplier=ratios)
    return [f"{one.option}: {one.message}" for one in base_weight_findings(Config([table], {}))]


def written(path: Path, *names: str) -> str:
    save_file({name: torch.zeros(2, 2) for name in names}, path)
    return str(path)


@pytest.fixture
def lora(tmp_path: Path) -> str:
    return written(tmp_path / "lora.safetensors", "lora_unet_a.lora_down.weight", "lora_unet_a.lora_up.weight")


@pytest.mark.parametrize("ratios", [(), (0.5,), (0.5, -1.0)])
def test_strengths_may_be_missing(lora: str, ratios: tuple[float, ...]) -> None:
    assert said((lora, lora), ratios) == []


def test_strengths_may_not_be_more_than_files(lora: str) -> None:
    assert said((lora,), (1.0, 2.0)) == ["base_weights_multiplier: 2 strengths for 1 files of base_weights"]
    assert said((), (1.0,)) == ["base_weights_multiplier: base_weights_multiplier without base_weights"]


def test_a_strength_is_a_finite_number(lora: str) -> None:
    assert said((lora,), (math.nan,)) == ["base_weights_multiplier: nan is no strength"]


def test_files_that_are_no_networks_are_all_told(tmp_path: Path, lora: str) -> None:
    damaged, pickle = tmp_path / "damaged.safetensors", tmp_path / "model.ckpt"
    damaged.write_bytes(Path(lora).read_bytes()[:-3])
    pickle.write_bytes(b"x")
    base = written(tmp_path / "base.safetensors", "model.diffusion_model.out.weight")
    peft = written(tmp_path / "peft.safetensors", "unet.a.lora_A.weight", "unet.a.lora_B.weight")
    found = said((str(tmp_path / "no.safetensors"), str(damaged), str(pickle), base, peft, lora))
    parts = ["no such file", "cut off", "a pickle", "a base model's checkpoint", "names of diffusers"]
    assert len(found) == len(parts)
    assert all(part in one for part, one in zip(parts, found, strict=True))
