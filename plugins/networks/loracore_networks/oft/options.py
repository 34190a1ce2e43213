"""Options of OFT; all of them may stand in ``network_args`` too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from loracore import Config, Finding, NetworkOptions, option
from loracore_networks.lora.options import file_findings_of


@dataclass(frozen=True, slots=True)
class OftOptions:
    """Which layers are rotated, beside the default targets."""

    enable_conv: Annotated[bool, option("rotate larger convolutions and their neighbours too", network_arg=True)] = (
        False
    )
    enable_all_linear: Annotated[
        bool, option("without effect: every linear layer of the default targets is rotated", network_arg=True)
    ] = False


def findings(config: Config) -> Sequence[Finding]:
    """Return what is wrong or without effect."""
    found = [*file_findings_of("oft", config), *norm_findings(config)]
    if config.given("enable_all_linear"):
        message = "without effect: every linear layer of the default targets is rotated"
        found.append(Finding("without effect", "enable_all_linear", message))
    for name in ("enable_conv", "network_dim", "network_alpha"):
        if config.given(name) and config[NetworkOptions].dim_from_weights:
            message = "without effect: dim_from_weights takes modules and blocks from the file, without a constraint"
            found.append(Finding("without effect", name, message))
    return found


def norm_findings(config: Config) -> list[Finding]:
    """Return a finding when a norm is to be limited that depends on the weight."""
    if config[NetworkOptions].scale_weight_norms is None:
        return []
    message = "the change of this network depends on the weight itself: its norm cannot be scaled"
    return [Finding("unsupported", "scale_weight_norms", message, "leave it out")]
