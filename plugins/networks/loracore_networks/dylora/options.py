"""What DyLoRA adds to LoRA's options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from loracore import Config, Finding, NetworkOptions, option
from loracore_networks.lora.options import DEFAULT_RANK, LoraOptions, file_findings_of
from loracore_networks.lora.options import findings as lora_findings


@dataclass(frozen=True, slots=True)
class DyloraOptions:
    """How finely the ranks may be cut afterwards."""

    unit: Annotated[
        int, option("ranks trained at a time; lower ranks may be cut out in its multiples", ge=1, network_arg=True)
    ] = 1


def findings(config: Config) -> Sequence[Finding]:
    """Return what contradicts itself, is refused, or is without effect."""
    return [*lora_findings(config), *_own_findings(config), *file_findings_of("lora", config)]


def _own_findings(config: Config) -> Iterator[Finding]:
    unit, network, conv_dim = config[DyloraOptions].unit, config[NetworkOptions], config[LoraOptions].conv_dim
    if config[LoraOptions].use_tucker:
        message = "DyLoRA has no Tucker factors: the middle one mixes ranks, so that no lower rank could be cut out"
        yield Finding("unsupported", "use_tucker", message, "leave it out, or train a lora")
    if network.dim_from_weights:
        return  # the ranks are the file's, and are looked at when it is read
    ranks = {"network_dim": network.network_dim or DEFAULT_RANK, "conv_dim": conv_dim or 0}
    wrong = {name: rank for name, rank in ranks.items() if rank % unit}
    if wrong:
        said = " and ".join(f"{name} = {rank}" for name, rank in wrong.items())
        yield Finding(
            "wrong", "unit", f"unit = {unit} does not divide {said}", "give a unit that does, or another rank"
        )
