"""What `lycoris.kohya` is in other trainers: its algorithms under its own names, built by the networks here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, hookimpl
from loracore_networks.dora.options import DoraOptions
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.lokr.options import LokrOptions
from loracore_networks.lora.options import LoraOptions
from loracore_networks.lycoris.checking import findings
from loracore_networks.lycoris.options import LycorisOptions

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return LyCORIS's options, and those of the networks behind its algorithms."""
    return (LycorisOptions, LoraOptions, LokrOptions, DoraOptions, DyloraOptions)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return options that are wrong, unsupported or without effect."""
    return findings(config)


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return the algorithm's adapter in front of this target, or None without a rank for it."""
    from loracore_networks.lycoris.building import build_algorithm
    from loracore_networks.reading import build_from_file

    return build_algorithm(target, config) if weights is None else build_from_file(target, weights, config)
