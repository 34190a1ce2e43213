"""LoHa (Hyeon-Woo et al. 2021, arXiv 2108.06098): element-wise products of low-rank pairs, in LyCORIS's format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, hookimpl
from loracore_networks.lora.options import LoraOptions, file_findings_of
from loracore_networks.lora.options import findings as lora_findings

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return LoRA's options, which mean the same here."""
    return (LoraOptions,)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return options that are wrong or without effect."""
    return [*lora_findings(config), *file_findings_of("loha", config)]


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return the two products in front of this target, or None without a rank for it."""
    from loracore_networks.loha.change import build_loha
    from loracore_networks.reading import build_from_file

    return build_loha(target, config) if weights is None else build_from_file(target, weights, config)
