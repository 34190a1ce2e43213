"""The tiny model on disk, written once; read only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.sd3 import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a diffusers folder."""
    return tiny.write_folder(tmp_path_factory.mktemp("folder") / "tiny")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as one checkpoint with its text encoders inside."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transformer alone, without prefix."""
    path = tmp_path_factory.mktemp("bare") / "tiny.safetensors"
    return tiny.write_checkpoint(path, inside=("unet",), prefixed=False)


@pytest.fixture(scope="session")
def separate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The other parts as a file each, by option."""
    files = tiny.write_separate(tmp_path_factory.mktemp("separate") / "files")
    return {option: str(path) for option, path in files.items()}
