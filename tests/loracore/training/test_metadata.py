from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from loracore.training.metadata import BaseModelHashes, file_hashes


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
    assert BaseModelHashes(str(path)).metadata() == {
        "ss_sd_model_name": "base.safetensors",
        "ss_sd_model_hash": golden["base_model_hashes"]["model_hash"],
        "ss_new_sd_model_hash": golden["base_model_hashes"]["sha256"],
    }


def test_a_hub_id_has_a_name_and_no_hash() -> None:
    assert BaseModelHashes("owner/model").metadata() == {"ss_sd_model_name": "owner/model"}
