"""LoRA-FA (Zhang et al. 2023, arXiv 2308.03303): LoRA whose down factor stays as it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, hookimpl
from loracore_networks.kinds import kind_of_tensors
from loracore_networks.lora.options import LoraOptions
from loracore_networks.lora_fa.options import findings

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return LoRA's options."""
    return (LoraOptions,)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return options that are wrong, refused or without effect."""
    return findings(config)


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return a LoRA that trains its up factor alone, or None without a rank for this target."""
    from loracore_networks.lora_fa.adapter import build_lora_fa
    from loracore_networks.reading import build_from_file

    if weights is not None and kind_of_tensors(weights) != "lora":
        return build_from_file(target, weights, config)
    return build_lora_fa(target, weights, config)
