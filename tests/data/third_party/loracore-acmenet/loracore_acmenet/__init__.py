"""A network that multiplies low-rank products element by element (Hyeon-Woo et al. 2021, arXiv 2108.06098)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from loracore import Config, Finding, LoraTarget, NetworkOptions, hookimpl, option

if TYPE_CHECKING:
    from torch import Tensor

    from loracore import Adapter

LORACORE_API = 1


@dataclass(frozen=True, slots=True)
class AcmenetOptions:
    """What this network adds to the core's."""

    acme_factors: Annotated[int, option("low-rank products that are multiplied", ge=2, le=3, network_arg=True)] = 2


@hookimpl
def options() -> tuple[type, ...]:
    return (AcmenetOptions,)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    if config[NetworkOptions].network_dropout:
        return [Finding("unsupported", "network_dropout", "acmenet has no dropout", "leave it out")]
    return []


@hookimpl
def build_adapter(target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config) -> Adapter | None:
    from loracore_acmenet import adapter

    return adapter.build(target, weights, config[NetworkOptions], config[AcmenetOptions].acme_factors)
