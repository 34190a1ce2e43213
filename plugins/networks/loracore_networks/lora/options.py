"""Options of LoRA; all of them may stand in ``network_args`` too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from loracore import Config, Finding, NetworkOptions, option


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """What LoRA adds to the network options of the core."""

    conv_dim: Annotated[
        int | None, option("rank for larger convolutions; unset: only the default targets", ge=1, network_arg=True)
    ] = None
    conv_alpha: Annotated[
        float, option("scale numerator for larger convolutions; 0 means rank", ge=0, network_arg=True)
    ] = 1.0
    dropout: Annotated[
        float | None, option("network_dropout, as network_args spell it", ge=0, lt=1, network_arg=True)
    ] = None
    rank_dropout: Annotated[
        float, option("share of the ranks that a sample does without, in training", ge=0, lt=1, network_arg=True)
    ] = 0.0
    module_dropout: Annotated[
        float, option("share of the modules that a sample does without, in training", ge=0, lt=1, network_arg=True)
    ] = 0.0


def findings(config: Config) -> Sequence[Finding]:
    """Return what contradicts itself or is without effect."""
    lora, found = config[LoraOptions], []
    if config.given("conv_alpha") and lora.conv_dim is None:
        found.append(Finding("without effect", "conv_alpha", "without effect: no conv_dim is given"))
    if config.given("conv_dim") and config[NetworkOptions].dim_from_weights:
        found.append(Finding("without effect", "conv_dim", "without effect: dim_from_weights takes it from the file"))
    if config.given("conv_dim") and config[NetworkOptions].network_train_text_encoder_only:
        found.append(Finding("without effect", "conv_dim", "without effect: text encoders have no convolutions"))
    if config.given("network_dropout") and lora.dropout not in (None, config[NetworkOptions].network_dropout):
        message = "network_dropout and the network argument dropout differ"
        found.append(Finding("wrong", "dropout", message, "give one of them"))
    return found
