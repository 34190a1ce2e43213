"""The core's own options, as the field names them; and ``option``, which plugins declare theirs with."""

from __future__ import annotations

from loracore.config.options.blocks import BlockOptions
from loracore.config.options.data import DataOptions
from loracore.config.options.declaring import CacheKind, option
from loracore.config.options.hub import HubOptions
from loracore.config.options.logs import LoggingOptions
from loracore.config.options.loss import LossOptions
from loracore.config.options.memory import MemoryOptions
from loracore.config.options.model import ModelOptions
from loracore.config.options.network import NetworkOptions
from loracore.config.options.plugins import PluginOptions
from loracore.config.options.previews import PreviewOptions
from loracore.config.options.processes import ProcessOptions
from loracore.config.options.saving import MetadataOptions, SavingOptions
from loracore.config.options.speed import SpeedOptions
from loracore.config.options.state import StateOptions
from loracore.config.options.training import TrainingOptions
from loracore.config.options.validation import ValidationOptions

__all__ = [
    "CORE_OPTIONS",
    "NEUTRAL_OPTIONS",
    "BlockOptions",
    "CacheKind",
    "DataOptions",
    "HubOptions",
    "LoggingOptions",
    "LossOptions",
    "MemoryOptions",
    "MetadataOptions",
    "ModelOptions",
    "NetworkOptions",
    "PluginOptions",
    "PreviewOptions",
    "ProcessOptions",
    "SavingOptions",
    "SpeedOptions",
    "StateOptions",
    "TrainingOptions",
    "ValidationOptions",
    "option",
]

#: The tables that every run has; plugins add theirs.
CORE_OPTIONS: tuple[type, ...] = (
    PluginOptions,
    ModelOptions,
    MemoryOptions,
    DataOptions,
    NetworkOptions,
    BlockOptions,
    TrainingOptions,
    LossOptions,
    SpeedOptions,
    SavingOptions,
    MetadataOptions,
    StateOptions,
    ValidationOptions,
    PreviewOptions,
    LoggingOptions,
    HubOptions,
    ProcessOptions,
)

#: Those of them that change nothing in what is trained: a run may be resumed with others.
NEUTRAL_OPTIONS: tuple[type, ...] = (
    MemoryOptions,
    SavingOptions,
    MetadataOptions,
    StateOptions,
    ValidationOptions,
    PreviewOptions,
    LoggingOptions,
    HubOptions,
    ProcessOptions,
)
