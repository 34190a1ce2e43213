"""Which learning rate each adapter gets, and the parameter groups that follow from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from loracore.config.config import Config
from loracore.config.options import NetworkOptions, TrainingOptions
from loracore.networks.network import Network
from loracore.types import LoraTarget


@dataclass(frozen=True, eq=False, slots=True)
class ParameterGroup:
    """Parameters that share a learning rate, under the name that logs use."""

    name: str
    lr: float
    parameters: tuple[nn.Parameter, ...]


def is_text(part: str) -> bool:
    """Tell whether a part ("te1", "unet") is a text encoder."""
    return re.fullmatch(r"te\d+", part) is not None


def part_of(key: str) -> str:
    """Return the part that a file's key belongs to: "te1" of "lora_te1_text_model_…"."""
    return key.split("_", 2)[1] if key.count("_") > 1 else ""


def trains(part: str, config: Config) -> bool:
    """Tell whether a part's adapters take part in this run."""
    network = config[NetworkOptions]
    if is_text(part):
        return not network.network_train_unet_only
    return not network.network_train_text_encoder_only


def learning_rate(target: LoraTarget, config: Config) -> float:
    """Return a target's learning rate: its own, else its part's, else ``learning_rate``.

    ``text_encoder_lr`` has one value for all text encoders or one for each; the last one counts for the rest.
    """
    training = config[TrainingOptions]
    if target.lr is not None:
        return target.lr
    if not is_text(target.part):
        return training.learning_rate if training.unet_lr is None else training.unet_lr
    rates = training.text_encoder_lr
    if not rates:
        return training.learning_rate
    number = int(target.part.removeprefix("te"))
    return rates[min(number, len(rates)) - 1]


def parameter_groups(network: Network, config: Config) -> list[ParameterGroup]:
    """Return the groups of the optimizer, by part and learning rate, in the order of the targets.

    Adapters with learning rate 0, and those whose output is never used, are left out: they are saved as they are.
    """
    grouped: dict[tuple[str, float], list[nn.Parameter]] = {}
    for entry in network.entries:
        rate = learning_rate(entry.target, config)
        if rate and not entry.target.expected_unused:
            grouped.setdefault((entry.target.part, rate), []).extend(entry.adapter.parameters())
    return [ParameterGroup(_name(part), rate, tuple(found)) for (part, rate), found in grouped.items()]


def _name(part: str) -> str:
    return f"textencoder {part.removeprefix('te')}" if is_text(part) else part
