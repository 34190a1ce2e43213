"""OFT (Qiu et al. 2023, arXiv 2306.07280): rotations of the weight's rows, in the file format that ComfyUI reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from loracore import Config, Finding, LoraTarget, hookimpl
from loracore_networks.oft.options import OftOptions, findings

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@hookimpl
def options() -> tuple[type, ...]:
    """Return OFT's own options."""
    return (OftOptions,)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return options of OFT that are wrong or without effect."""
    return findings(config)


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    """Return the rotations in front of this target, or None when the options leave it out."""
    from loracore_networks.oft.building import build_oft
    from loracore_networks.reading import build_from_file

    return build_oft(target, config) if weights is None else build_from_file(target, weights, config)
