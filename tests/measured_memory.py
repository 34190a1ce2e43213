"""Three steps of a tiny model on pictures of 256², counted and measured."""

from __future__ import annotations

from pathlib import Path

from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.testing.measured_memory import Compared, MeasuredSteps
from loracore.testing.tiny_data import write_pictures
from loracore.training.train import train


def measured_training(arch: str, model: Path, folder: Path, *words: str) -> Compared:
    """Train three steps on pictures of one size, and return what was counted and what was measured."""
    pictures = write_pictures(folder / "pictures", count=6, sizes=[(256, 256)])
    request = read_request(
        [
            *("--arch", arch, "--pretrained_model_name_or_path", str(model), "--output_dir", str(folder / "out")),
            *("--train_data_dir", str(pictures), "--resolution", "256", "--max_train_steps", "3"),
            *("--network_dim", "4", "--cache_dir", str(folder / "cache"), *words),
        ]
    )
    measured = MeasuredSteps()
    request.plugins.register(measured)
    train(request.config, request.plugins, read_datasets(request.config, request.document))
    return measured.compared
