"""A whole run of the toy architecture, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.training.train import train

TrainToy = Callable[..., Path]


@pytest.fixture
def toy_config(toy_site: Path, pictures: Path, tmp_path: Path) -> Path:
    """Return the configuration file of a short toy run."""
    options = {
        "arch": "toy",
        "pretrained_model_name_or_path": "loracore/toy",
        "network_train_unet_only": True,
        "train_data_dir": str(pictures),
        "caption_extension": ".txt",
        "resolution": "64",
        "enable_bucket": True,
        "min_bucket_reso": 32,
        "max_bucket_reso": 128,
        "bucket_reso_steps": 16,
        "train_batch_size": 2,
        "learning_rate": 1e-2,
        "max_train_steps": 6,
        "seed": 1,
        "output_dir": str(tmp_path / "out"),
        "output_name": "toy",
    }
    path = tmp_path / "toy.toml"
    path.write_text(tomli_w.dumps(options), encoding="utf-8")
    return path


@pytest.fixture
def train_toy(toy_config: Path) -> TrainToy:
    """Train the toy with some more flags and return the final file."""

    def run(*more: str, plugin: object | None = None) -> Path:
        request = read_request([str(toy_config), *more])
        if plugin is not None:
            request.plugins.register(plugin)
        datasets = read_datasets(request.config, request.document)
        path = train(request.config, request.plugins, datasets, request.notes)
        assert path is not None
        return path

    return run
