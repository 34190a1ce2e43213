from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from loracore.training.metadata.file_form import file_hashes, header_bytes


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


def test_the_header_is_that_of_safetensors(golden: dict[str, Any]) -> None:
    header = header_bytes({"w": torch.arange(300000.0)}, {"ss_a": "b"})
    assert header.decode("utf-8") == golden["sshs_big"]["header_json"]
