"""DyLoRA (Valipour et al. 2022, arXiv 2210.07558): a LoRA from which lower ranks can be cut out afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, hookimpl
from loracore_networks.dylora.options import DyloraOptions, findings
from loracore_networks.kinds import kind_of_tensors
from loracore_networks.lora.options import LoraOptions

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return LoRA's options and DyLoRA's unit."""
    return (LoraOptions, DyloraOptions)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return ranks that do not go together, and options that are refused or without effect."""
    return findings(config)


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return a LoRA whose ranks are trained a few at a time, or None without a rank for this target."""
    from loracore_networks.dylora.adapter import build_dylora
    from loracore_networks.reading import build_from_file

    if weights is not None and kind_of_tensors(weights) != "lora":
        return build_from_file(target, weights, config)
    return build_dylora(target, weights, config)
