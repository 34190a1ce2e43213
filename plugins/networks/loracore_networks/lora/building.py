"""From the options of a run, or the tensors of a file, to the low-rank factors of one target."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from loracore import Config, DataError, LoraTarget, NetworkOptions
from loracore.networks.masks import Dropouts
from loracore.networks.spellings import DOWN
from loracore_networks.lora.adapter import LoraAdapter, pair_count, shared
from loracore_networks.lora.fitting import MAGNITUDE, MID
from loracore_networks.lora.options import lora_options
from loracore_networks.lora.tucker import TuckerAdapter
from loracore_networks.matching import file_alpha
from loracore_networks.place import Place
from loracore_networks.ranks import chosen_size


def build_lora(
    target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config
) -> LoraAdapter | TuckerAdapter | None:
    """Return the adapter of one target, or None when the options give it no rank.

    ``weights`` are a file's, which then says rank, alpha and factors: also in runs of another network.
    """
    if weights is not None and MAGNITUDE in weights:
        message = f"'{target.key}' has a {MAGNITUDE}: it is a DoRA, not a LoRA"
        raise DataError(message, fix='give network_module = "dora"')
    return build_factors(target, weights, config, run_dropouts(config))


def build_factors(
    target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config, dropouts: Dropouts
) -> LoraAdapter | TuckerAdapter | None:
    """Return the factors of one target, under these dropouts, or None when the options give it no rank."""
    if weights is not None:
        rank, alpha = _of_file(target, weights)
        return (TuckerAdapter if MID in weights else LoraAdapter)(target, rank, alpha, dropouts)
    size = chosen_size(target, config)
    if size is None:
        return None
    tucker = lora_options(config).use_tucker and Place.of(target).is_large
    return (TuckerAdapter if tucker else LoraAdapter)(target, size.rank, size.alpha, dropouts)


def run_dropouts(config: Config) -> Dropouts:
    """Return what the run's samples do without."""
    lora = lora_options(config)
    neurons = config[NetworkOptions].network_dropout if lora.dropout is None else lora.dropout
    return Dropouts(neurons, lora.rank_dropout, lora.module_dropout)


def _of_file(target: LoraTarget, weights: Mapping[str, Tensor]) -> tuple[int, float]:
    """Return rank and alpha of each of the target's pairs."""
    if DOWN not in weights:
        message = f"'{target.key}' has no {DOWN} but {sorted(weights)}"
        raise DataError(message, fix="the file is of another kind of network")
    pairs, ranks = pair_count(target), weights[DOWN].shape[0]
    if ranks % pairs:
        raise shared()
    return ranks // pairs, file_alpha(weights, ranks) / pairs
