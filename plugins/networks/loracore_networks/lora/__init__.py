"""LoRA (Hu et al. 2021, arXiv 2106.09685) on Linear and convolution layers, in the field's file format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, hookimpl
from loracore_networks.lora.options import LoraOptions, file_findings_of, findings

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return LoRA's own options."""
    return (LoraOptions,)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return options of LoRA that are wrong or without effect."""
    return [*findings(config), *file_findings_of("lora", config)]


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return the pair of low-rank factors in front of this target, or None without a rank for it."""
    from loracore_networks.lora.building import build_lora
    from loracore_networks.reading import build_from_file

    return build_lora(target, None, config) if weights is None else build_from_file(target, weights, config)
