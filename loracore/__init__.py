"""loracore trains LoRA and other adapters for diffusion models; this is what plugin authors import.

Everything is imported on first use (PEP 562), so that ``from loracore import hookimpl`` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loracore.config.config import Config, Finding
    from loracore.config.options import (
        DataOptions,
        ModelOptions,
        NetworkOptions,
        PluginOptions,
        SavingOptions,
        TrainingOptions,
        option,
    )
    from loracore.config.refused import Refusal
    from loracore.errors import ConfigError, DataError, LoracoreError, PluginError, Problem
    from loracore.hookspecs import API_VERSION, hookimpl
    from loracore.networks.adapter import Adapter
    from loracore.noise.rng import SampleRng
    from loracore.training.run import Run
    from loracore.types import (
        Batch,
        DemoKit,
        Drawing,
        Event,
        Examples,
        FieldFiles,
        Framing,
        Latents,
        LatentsFile,
        LoraTarget,
        Models,
        NoisyBatch,
        Part,
        Prediction,
        TextConditioning,
        TextFile,
    )
    from loracore.weights.layout import FileTensor, PartNames

_HOMES = {
    "loracore.config.config": ("Config", "Finding"),
    "loracore.config.options": (
        "DataOptions",
        "ModelOptions",
        "NetworkOptions",
        "PluginOptions",
        "SavingOptions",
        "TrainingOptions",
        "option",
    ),
    "loracore.config.refused": ("Refusal",),
    "loracore.errors": ("ConfigError", "DataError", "LoracoreError", "PluginError", "Problem"),
    "loracore.hookspecs": ("API_VERSION", "hookimpl"),
    "loracore.networks.adapter": ("Adapter",),
    "loracore.noise.rng": ("SampleRng",),
    "loracore.training.run": ("Run",),
    "loracore.types": (
        "Batch",
        "DemoKit",
        "Drawing",
        "Event",
        "Examples",
        "FieldFiles",
        "Framing",
        "Latents",
        "LatentsFile",
        "LoraTarget",
        "Models",
        "NoisyBatch",
        "Part",
        "Prediction",
        "TextConditioning",
        "TextFile",
    ),
    "loracore.weights.layout": ("FileTensor", "PartNames"),
}

__all__ = [
    "API_VERSION",
    "Adapter",
    "Batch",
    "Config",
    "ConfigError",
    "DataError",
    "DataOptions",
    "DemoKit",
    "Drawing",
    "Event",
    "Examples",
    "FieldFiles",
    "FileTensor",
    "Finding",
    "Framing",
    "Latents",
    "LatentsFile",
    "LoraTarget",
    "LoracoreError",
    "ModelOptions",
    "Models",
    "NetworkOptions",
    "NoisyBatch",
    "Part",
    "PartNames",
    "PluginError",
    "PluginOptions",
    "Prediction",
    "Problem",
    "Refusal",
    "Run",
    "SampleRng",
    "SavingOptions",
    "TextConditioning",
    "TextFile",
    "TrainingOptions",
    "hookimpl",
    "option",
]


def __getattr__(name: str) -> Any:  # a module's attribute may be anything
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    message = f"module 'loracore' has no attribute '{name}'"
    raise AttributeError(message)
