"""The options of a run, and models loaded with them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch
from loracore_networks.lora.options import LoraOptions
from loracore_sd3 import models
from loracore_sd3.options import Sd3NetworkOptions, Sd3Options

from loracore import Config, DataOptions, ModelOptions, Models, NetworkOptions, Part, TrainingOptions
from loracore.config.options import LossOptions, PreviewOptions, SpeedOptions
from loracore.diffusion.options import FlowOptions, TokenizerOptions, VaeOptions

TABLES = (
    VaeOptions,
    ModelOptions,
    PreviewOptions,
    DataOptions,
    NetworkOptions,
    TrainingOptions,
    LossOptions,
    SpeedOptions,
    Sd3Options,
    Sd3NetworkOptions,
    FlowOptions,
    TokenizerOptions,
    LoraOptions,
)
Parts = frozenset[Part]
TEXT: Parts = frozenset({"text"})
VAE: Parts = frozenset({"vae"})
DENOISER: Parts = frozenset({"denoiser"})
ALL: Parts = TEXT | VAE | DENOISER


def config_of(model: Path | str | None = None, /, **options: object) -> Config:
    """Return the options of a run on a model; those that are named count as given."""
    named = options if model is None else {"pretrained_model_name_or_path": str(model), **options}
    tables = []
    for table in TABLES:
        own = {field.name for field in fields(table)}
        tables.append(table(**{name: value for name, value in named.items() if name in own}))  # type: ignore[arg-type]  # tests give the right types
    return Config(tables, {name: f"--{name}" for name in named})


def loaded(
    model: Path | str | None,
    parts: Parts = ALL,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    **options: object,
) -> Models:
    """Return the parts of a model."""
    return models.load(parts, torch.device(device), dtype, config_of(model, **options))
