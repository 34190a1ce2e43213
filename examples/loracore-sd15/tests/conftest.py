"""The tiny model on disk, the options of a run on it, and runs."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from loracore_sd15 import options
from safetensors.torch import save_file
from tiny_sd15 import MakeConfig, Train, original_tensors, tiny_parts, write_folder
from torch import nn

from loracore import Config, ModelOptions

pytest_plugins = ("loracore.testing.pytest_plugin",)


@pytest.fixture(scope="session")
def parts() -> dict[str, nn.Module]:
    """The tiny model's parts by name."""
    return tiny_parts()


@pytest.fixture(scope="session")
def folder(parts: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as a diffusers folder; read only."""
    return write_folder(tmp_path_factory.mktemp("folder") / "tiny", parts)


@pytest.fixture(scope="session")
def checkpoint(parts: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as one file, its unusual sizes in a folder of its name; read only."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    for weights in write_folder(path.with_suffix(""), parts).glob("*/*.safetensors"):
        weights.unlink()
    save_file(original_tensors(parts), path)
    return path


@pytest.fixture
def config() -> MakeConfig:
    """Give a function that makes the options of a run on a model."""

    def made(model: Path | None = None, **given: object) -> Config:
        values = {"pretrained_model_name_or_path": str(model) if model else None, **given}
        tables: list[Any] = [ModelOptions, *options()]
        owned = ((table, {field.name for field in fields(table)} & values.keys()) for table in tables)
        return Config([table(**{name: values[name] for name in own}) for table, own in owned], {})

    return made


@pytest.fixture
def train(loracore_train: Train, tmp_path: Path) -> Train:
    """Give a function that trains two steps of U-Net and text encoder, in this process."""

    def run(model: Path, name: str, *more: str) -> Path:
        words = ("--arch", "sd15", "--network_module", "lora", "--pretrained_model_name_or_path", str(model))
        sizes = ("--bucket_reso_steps", "64", "--min_bucket_reso", "64", "--max_bucket_reso", "128")
        both = () if "--network_train_unet_only" in more else ("--no_network_train_unet_only",)
        return loracore_train(*words, *sizes, *both, "--max_train_steps", "2", "--output_name", name, *more)

    return run
