from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from loracore.config.options import CORE_OPTIONS
from loracore.training.metadata import UNUSED, ModelHashes, file_hashes
from tests.toy_runs import TrainToy


@pytest.fixture
def golden(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "training.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("case", "dtype"),
    [("sshs_small", torch.float32), ("sshs_small_fp16", torch.float16), ("sshs_small_bf16", torch.bfloat16)],
)
def test_file_hashes_equal_the_fields(golden: dict[str, Any], case: str, dtype: torch.dtype) -> None:
    tensors = {
        "lora_unet_a.lora_down.weight": torch.arange(12.0).view(3, 4).to(dtype),
        "lora_unet_a.lora_up.weight": (torch.arange(15.0) / 7).view(5, 3).to(dtype),
        "lora_unet_a.alpha": torch.tensor(2.0).to(dtype),
    }
    metadata = {"ss_network_dim": "3", "ss_network_alpha": "2.0", "modelspec.title": "ignored"}
    hashes = file_hashes(tensors, metadata)
    assert hashes == {name: golden[case][name] for name in hashes}


def test_the_legacy_hash_reads_behind_the_first_mebibyte(golden: dict[str, Any]) -> None:
    hashes = file_hashes({"w": torch.arange(300000.0) % 1000}, {"ss_a": "b"})
    assert hashes == {name: golden["sshs_big"][name] for name in hashes}


def test_base_model_hashes_equal_the_fields(golden: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    path.write_bytes(bytes((7 * i + 3) % 256 for i in range(0x100000 + 70000)))
    assert ModelHashes(str(path)).metadata() == {
        "ss_sd_model_name": "base.safetensors",
        "ss_sd_model_hash": golden["base_model_hashes"]["model_hash"],
        "ss_new_sd_model_hash": golden["base_model_hashes"]["sha256"],
    }


def test_a_hub_id_has_a_name_and_no_hash() -> None:
    assert ModelHashes("owner/model").metadata() == {"ss_sd_model_name": "owner/model"}


def test_other_models_have_keys_of_their_own(golden: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    path.write_bytes(bytes((7 * i + 3) % 256 for i in range(0x100000 + 70000)))
    assert ModelHashes(str(path), "vae").metadata() == {
        "ss_vae_name": "vae.safetensors",
        "ss_vae_hash": golden["base_model_hashes"]["model_hash"],
        "ss_new_vae_hash": golden["base_model_hashes"]["sha256"],
    }


def test_the_header_has_the_runs_own_options_of_its_data(train_toy: TrainToy) -> None:
    options = {"prior_loss_weight": "0.5", "caption_dropout_rate": "0.25", "caption_dropout_every_n_epochs": "3"}
    options |= {"caption_tag_dropout_rate": "0.125", "resize_interpolation": "area"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with safe_open(train_toy(*words, "--fp8_base_unet", "--face_crop_aug_range", "2,4"), "pt") as file:
        said = file.metadata()
    assert {name: said[f"ss_{name}"] for name in options} == options
    assert (said["ss_fp8_base"], said["ss_fp8_base_unet"]) == ("False", "True")
    assert (said["ss_face_crop_aug_range"], said["ss_cache_latents"]) == ("(2.0, 4.0)", "True")


def test_no_key_of_an_option_is_written_as_unused() -> None:
    options = {f"ss_{field.name}" for table in CORE_OPTIONS for field in fields(table)}
    assert options & set(UNUSED) == set()
