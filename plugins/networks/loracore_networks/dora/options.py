"""What DoRA adds to LoRA's options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from loracore import Config, Finding, NetworkOptions, option
from loracore_networks.lora.options import file_findings_of
from loracore_networks.lora.options import findings as lora_findings


@dataclass(frozen=True, slots=True)
class DoraOptions:
    """Which magnitudes of a weight are trained."""

    wd_on_output: Annotated[
        bool,
        option(
            "one magnitude for each output row, as PEFT, diffusers and LyCORIS apply it;"
            " off: for each input, as ComfyUI and the WebUIs do",
            network_arg=True,
        ),
    ] = False


def findings(config: Config) -> Sequence[Finding]:
    """Return what contradicts itself, is refused, or is without effect."""
    found = [*lora_findings(config), *file_findings_of("dora", config)]
    if config[NetworkOptions].scale_weight_norms is not None:
        message = "DoRA trains the norm of the weight itself: its change cannot be scaled down factor by factor"
        found.append(Finding("unsupported", "scale_weight_norms", message, "leave it out, or train a lora"))
    if config.given("wd_on_output") and config[NetworkOptions].dim_from_weights:
        message = "without effect: dim_from_weights takes the magnitudes from the file"
        found.append(Finding("without effect", "wd_on_output", message))
    return found
