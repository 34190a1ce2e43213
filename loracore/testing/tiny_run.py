"""A whole run of a few steps on the toys, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.errors import ConfigError
from loracore.training.train import train


def tiny_options(pictures: Path, output_dir: Path) -> dict[str, Any]:
    """Return the options of a short run of the toys, as a configuration file has them; the result is toy.safetensors.

    Six steps of batches of two, in buckets, of the denoiser alone.
    """
    return {
        "arch": "toy",
        "network_module": "toy",
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
        "output_dir": str(output_dir),
        "output_name": "toy",
    }


def train_here(words: Sequence[str], watchers: Iterable[object] = ()) -> Path:
    """Train by the words behind ``loracore train``, in this process, and return the final file.

    ``watchers`` are registered as plugins of this run, and asked before all others. Raises LoracoreError for what the
    command would show in a line.
    """
    request = read_request(words)
    for watcher in watchers:
        request.plugins.register(watcher)
    path = train(request.config, request.plugins, read_datasets(request.config, request.document), request.notes)
    if path is None:  # an answer of the processes that do not write
        message = "this run leaves no file"
        raise ConfigError(message, fix="train with one process")
    return path
