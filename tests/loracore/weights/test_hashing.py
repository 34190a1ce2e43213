"""Hashes are those that readers of the field compute from the file."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from loracore.training.metadata import file_hashes
from loracore.weights.hashing import content_hash
from tests.loracore.weights.network_files import lora, write


def test_the_content_s_hash_is_that_of_a_training(tmp_path: Path) -> None:
    path = write(tmp_path / "file.safetensors", lora(), {"ss_steps": "7", "modelspec.title": "cat"})
    assert content_hash(path) == file_hashes(lora(), {})["sshs_model_hash"]


def test_files_of_other_programs_have_the_hash_that_they_tell(data: Path) -> None:
    path = data / "tiny-sdxl-lora.safetensors"
    with safe_open(path, framework="pt") as file:
        assert content_hash(path) == file.metadata()["sshs_model_hash"]
