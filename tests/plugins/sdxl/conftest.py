"""The tiny model on disk, written once, and the options of a run on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.sdxl import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a diffusers folder; read only."""
    return tiny.write_folder(tmp_path_factory.mktemp("folder") / "tiny")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as one checkpoint; read only."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")
