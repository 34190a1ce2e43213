from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loracore.training.metadata.model_hashes import ModelHashes, _hashes


@pytest.fixture
def golden(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "training.json").read_text(encoding="utf-8"))
    return found


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


def test_a_folder_and_a_file_that_is_gone_have_the_fields_words(golden: dict[str, Any], tmp_path: Path) -> None:
    assert ModelHashes(str(tmp_path)).metadata()["ss_new_sd_model_hash"] == golden["base_model_hashes"]["dir_sha"]
    path = tmp_path / "gone"
    assert _hashes(path) == (golden["base_model_hashes"]["missing"], golden["base_model_hashes"]["missing_sha"])
