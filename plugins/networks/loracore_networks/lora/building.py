"""From the options of a run, or the tensors of a file, to the low-rank factors of one target."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from loracore import Config, DataError, LoraTarget, NetworkOptions
from loracore.networks.masks import Dropouts
from loracore.networks.spellings import DOWN, MAGNITUDE, MID, UP
from loracore_networks.kinds import TITLES
from loracore_networks.lora.adapter import LoraAdapter, pair_count, shared
from loracore_networks.lora.options import lora_options
from loracore_networks.lora.tucker import TuckerAdapter
from loracore_networks.matching import OTHER_FILE, check_file, file_alpha, shape_in_file
from loracore_networks.place import Place
from loracore_networks.ranks import chosen_size


def build_lora(
    target: LoraTarget, weights: Mapping[str, Tensor] | None, config: Config
) -> LoraAdapter | TuckerAdapter | None:
    """Return the adapter of one target, or None when the options give it no rank.

    ``weights`` are a file's, which then says rank, alpha and factors: also in runs of another network.
    """
    if weights is not None and MAGNITUDE in weights:
        message = f"{MAGNITUDE} makes it a DoRA, not a LoRA"
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
    place, pairs = Place.of(target), pair_count(target)
    if MID in weights and not place.kernel:
        raise DataError(f"{MID} is there, but the layer is no convolution", fix=OTHER_FILE)
    ranks = shape_in_file(weights, DOWN, len(place.shape))[0]
    check_file(weights, _shapes(place, weights, ranks), TITLES["dora" if MAGNITUDE in weights else "lora"])
    if ranks % pairs:
        raise shared()
    return ranks // pairs, file_alpha(weights, ranks) / pairs


def _shapes(place: Place, weights: Mapping[str, Tensor], ranks: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a file's tensors of these ranks have at a place; magnitudes are looked at elsewhere."""
    ones = tuple(1 for _ in place.kernel)
    shapes = {UP: (place.outputs, ranks, *ones), DOWN: (ranks, *place.shape[1:])}
    if MID in weights:
        shapes |= {DOWN: (ranks, place.inputs, 1, 1), MID: (ranks, ranks, *place.kernel)}
    return shapes | ({MAGNITUDE: tuple(weights[MAGNITUDE].shape)} if MAGNITUDE in weights else {})
