"""A whole run of the toy architecture, in this process, with the network that runs have when they name none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TrainToy = Callable[..., Path]


@pytest.fixture
def toy_config(loracore_config: Path) -> Path:
    """Return the configuration file of a short toy run."""
    text = loracore_config.read_text(encoding="utf-8")
    loracore_config.write_text(text.replace('network_module = "toy"\n', ""), encoding="utf-8")
    return loracore_config


@pytest.fixture
def train_toy(toy_config: Path, loracore_train: TrainToy) -> TrainToy:
    """Train the toy with some more flags and return the final file."""
    return loracore_train
