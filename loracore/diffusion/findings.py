"""What several architectures say of a run's options before anything is loaded; no torch here."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from loracore.config.config import Config, Finding
from loracore.config.options import NetworkOptions, TrainingOptions
from loracore.errors import ConfigError

_log = logging.getLogger(__name__)
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")


def idle(config: Config, reasons: Mapping[str, str]) -> Iterator[Finding]:
    """Give the options that are given and change nothing, with the reason."""
    for name, reason in reasons.items():
        if config.given(name):
            yield Finding("without effect", name, f"{name} has no effect: {reason}", "leave it out")


def unsupported(config: Config, reasons: Mapping[str, str]) -> Iterator[Finding]:
    """Give the switches that are on and cannot be, with the reason."""
    options = dict(config)
    for name, reason in reasons.items():
        if options[name]:
            yield Finding("unsupported", name, f"{name} {reason}", "leave it out")


def unreadable(config: Config, read: Callable[[Config], object], name: str, fix: str) -> Iterator[Finding]:
    """Give what ``read`` cannot read of an option: the message of its ValueError."""
    try:
        read(config)
    except ValueError as error:
        yield Finding("wrong", name, f"{name}: {error}", fix)


def surplus_rates(config: Config, encoders: int, model: str) -> Iterator[Finding]:
    """Give learning rates for more text encoders than the model has."""
    rates = config[TrainingOptions].text_encoder_lr
    if len(rates) > encoders:
        unused = ", ".join(str(rate) for rate in rates[encoders:])
        message = f"text_encoder_lr has {len(rates)} values, but {model} text encoders: {unused} has no effect"
        yield Finding("without effect", "text_encoder_lr", message)


def encoder_device(config: Config, name: str, device: str | None, trained: str | None) -> Iterator[Finding]:
    """Give what is wrong with a text encoder's own device; ``trained`` names the option that trains it, if it is on."""
    if trained is not None and config[NetworkOptions].network_train_unet_only:
        message = f"{trained} has no effect: network_train_unet_only trains no text encoder"
        yield Finding("without effect", trained, message)
    elif trained is not None and device is not None:
        message = f"{trained} trains the text encoder on the training device, but {name} is {device}"
        yield Finding("wrong", name, message, "leave out one of the two")
    if device is not None and _DEVICE.fullmatch(device) is None:
        yield Finding("wrong", name, f"{name}: '{device}' is no device", "use cpu, cuda or cuda:1")


def tell_absent(config: Config, label: str, option: str, own: Sequence[str], *, trained: bool) -> None:
    """Log that a model lacks a text encoder which it may lack, and which of the encoder's ``own`` options are idle.

    ``option`` names its file; the first of ``own`` trains it. Raises ConfigError when that is on (``trained``).
    """
    if trained:
        message = f"{own[0]}: the model has no {label} that could be trained"
        raise ConfigError(message, where=config.place(own[0]), fix=f"give --{option} FILE, or leave out {own[0]}")
    given = [name for name in own if config.given(name)]
    idle_ones = f"; {', '.join(given)} without effect" if given else ""
    _log.warning("there is no %s: zeros stand in for what it says%s; --%s FILE gives one", label, idle_ones, option)
