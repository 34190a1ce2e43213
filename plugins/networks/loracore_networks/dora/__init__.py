"""DoRA (Liu et al. 2024, arXiv 2402.09353): LoRA for the directions of a weight, and its magnitudes beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, hookimpl
from loracore_networks.dora.options import DoraOptions, findings
from loracore_networks.lora.options import LoraOptions

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return LoRA's options and which magnitudes are trained."""
    return (LoraOptions, DoraOptions)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return options that DoRA refuses, and those that are without effect."""
    return findings(config)


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return factors and magnitudes for this target, or None without a rank for it."""
    from loracore_networks.dora.adapter import build_dora
    from loracore_networks.reading import build_from_file

    return build_dora(target, None, config) if weights is None else build_from_file(target, weights, config)
