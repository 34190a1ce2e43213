"""Options of LoRA and its relatives; all of them may stand in ``network_args`` too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from loracore import Config, Finding, NetworkOptions, option
from loracore_networks.kinds import Kind, file_findings

DEFAULT_RANK = 4  # the field's default of network_dim


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
    rs_lora: Annotated[
        bool, option("scale = alpha / sqrt(rank) (rsLoRA); files hold alpha times sqrt(rank)", network_arg=True)
    ] = False
    use_tucker: Annotated[
        bool, option("larger convolutions as three factors, with lora_mid (Tucker, CP)", network_arg=True)
    ] = False


def lora_options(config: Config) -> LoraOptions:
    """Return the run's options of LoRA, or their defaults in a run of another network that reads a LoRA file."""
    return config[LoraOptions] if LoraOptions in config else LoraOptions()


def file_findings_of(kind: Kind, config: Config) -> Sequence[Finding]:
    """Return a finding when the file that gives the ranks (dim_from_weights) is of another kind of network."""
    return file_findings(config, {kind}) if config[NetworkOptions].dim_from_weights else ()


def findings(config: Config) -> Sequence[Finding]:
    """Return what contradicts itself or is without effect."""
    lora = config[LoraOptions]
    found = [Finding("without effect", name, f"without effect: {why}") for name, why in _idle(config)]
    if config.given("network_dropout") and lora.dropout not in (None, config[NetworkOptions].network_dropout):
        message = "network_dropout and the network argument dropout differ"
        found.append(Finding("wrong", "dropout", message, "give one of them"))
    return found


def _idle(config: Config) -> Iterator[tuple[str, str]]:
    """Give the options that do nothing here, and why."""
    lora, network = config[LoraOptions], config[NetworkOptions]
    if config.given("conv_alpha") and lora.conv_dim is None:
        yield "conv_alpha", "no conv_dim is given"
    if config.given("conv_dim") and network.dim_from_weights:
        yield "conv_dim", "dim_from_weights takes it from the file"
    if config.given("conv_dim") and network.network_train_text_encoder_only:
        yield "conv_dim", "text encoders have no convolutions"
    if lora.rs_lora and network.dim_from_weights:
        yield "rs_lora", "dim_from_weights takes the scale from the file"
    if lora.use_tucker and network.dim_from_weights:
        yield "use_tucker", "dim_from_weights takes the factors from the file"
    elif lora.use_tucker and lora.conv_dim is None:
        yield "use_tucker", "no conv_dim is given, and only larger convolutions have such factors"
