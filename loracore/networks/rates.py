"""Which learning rate each adapter gets, and the parameter groups that follow from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from loracore.config.config import Config
from loracore.config.options import BlockOptions, NetworkOptions, TrainingOptions
from loracore.errors import ConfigError
from loracore.networks.network import Entry, Network
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
    """Return the part that a file's key belongs to: "te1" of "lora_te1_text_model_…".

    Of a model's only text encoder the field's files leave out the number: "lora_te_text_model_…" is of "te1", too.
    """
    word = key.split("_", 2)[1] if key.count("_") > 1 else ""
    return "te1" if word == "te" else word


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


def moves(target: LoraTarget, config: Config) -> bool:
    """Tell whether a target's adapter is trained: it has a learning rate, and its output is used."""
    return learning_rate(target, config) != 0 and not target.expected_unused


def still_groups(network: Network, config: Config) -> list[str]:
    """Return the names of the groups that no optimizer has, because all learning rates in them are 0."""
    rates: dict[str, set[float]] = {}
    for entry in network.entries:
        if not entry.target.expected_unused:
            rates.setdefault(_group(entry.target), set()).add(learning_rate(entry.target, config))
    return [name for name, found in rates.items() if found == {0}]


def up_ratio(part: str, config: Config) -> float | None:
    """Return by how much LoRA+ (arXiv 2402.12354) speeds up the up factors of a part; None, never 0: not at all."""
    options = config[BlockOptions]
    own = options.loraplus_text_encoder_lr_ratio if is_text(part) else options.loraplus_unet_lr_ratio
    ratio = options.loraplus_lr_ratio if own is None else own
    return ratio or None


def parameter_groups(network: Network, config: Config) -> list[ParameterGroup]:
    """Return the groups of the optimizer, by part or block and learning rate, in the order of the targets.

    With LoRA+ the up factors of a group are one of their own, right behind it. Adapters with learning rate 0, and those
    whose output is never used, are left out: they are saved as they are. Raises ConfigError for LoRA+ on a network
    without up factors.
    """
    grouped: dict[tuple[str, float], list[Entry]] = {}
    for entry in network.entries:
        if moves(entry.target, config):
            place = (_group(entry.target), learning_rate(entry.target, config))
            grouped.setdefault(place, []).append(entry)
    _check_up_factors([entry for entries in grouped.values() for entry in entries], config)
    groups = (group for (name, rate), found in grouped.items() for group in _groups(name, rate, found, config))
    return [group for group in groups if group.parameters]


def _groups(name: str, rate: float, entries: Sequence[Entry], config: Config) -> Iterator[ParameterGroup]:
    """Give one group, or that of the up factors behind that of the others."""
    trained = [parameter for entry in entries for parameter in entry.adapter.trained_parameters()]
    ratio = up_ratio(entries[0].target.part, config)
    if ratio is None:
        yield ParameterGroup(name, rate, tuple(trained))
        return
    up = [parameter for entry in entries for parameter in entry.adapter.up_parameters()]
    fast = {id(parameter) for parameter in up}
    yield ParameterGroup(name, rate, tuple(parameter for parameter in trained if id(parameter) not in fast))
    yield ParameterGroup(f"{name} plus", rate * ratio, tuple(up))


def _check_up_factors(entries: Sequence[Entry], config: Config) -> None:
    for part in dict.fromkeys(entry.target.part for entry in entries):
        adapters = [entry.adapter for entry in entries if entry.target.part == part]
        if up_ratio(part, config) is not None and not any(adapter.up_parameters() for adapter in adapters):
            own = "loraplus_text_encoder_lr_ratio" if is_text(part) else "loraplus_unet_lr_ratio"
            given = own if config.given(own) else "loraplus_lr_ratio"
            message = "this network has no up factors that LoRA+ could speed up"
            raise ConfigError(message, where=config.place(given), fix=f"leave {given} out, or train another network")


def _group(target: LoraTarget) -> str:
    """Return the name of the group that a target belongs to."""
    part = target.part
    return target.group or (f"textencoder {part.removeprefix('te')}" if is_text(part) else part)
