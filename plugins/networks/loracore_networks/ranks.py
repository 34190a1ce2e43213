"""Which rank and alpha a run gives a target whose network changes the weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loracore import Config, LoraTarget, NetworkOptions
from loracore_networks.lora.options import DEFAULT_RANK, lora_options
from loracore_networks.place import Place


@dataclass(frozen=True, slots=True)
class Size:
    """A rank, and the alpha that the file holds: what is added is scaled by alpha / rank."""

    rank: int
    alpha: float


def chosen_size(target: LoraTarget, config: Config) -> Size | None:
    """Return the size of a target's adapter, or None when the options give it no rank.

    Convolutions with a kernel above 1×1 take ``conv_dim`` and ``conv_alpha``; everything else ``network_dim`` and
    ``network_alpha``, unless the target has its own. A target among convolutions needs ``conv_dim``.
    """
    lora, network = lora_options(config), config[NetworkOptions]
    if target.needs_conv and lora.conv_dim is None:
        return None
    large = Place.of(target).is_large
    own_rank = lora.conv_dim if large else network.network_dim or DEFAULT_RANK
    own_alpha = lora.conv_alpha if large else network.network_alpha
    rank = own_rank if target.rank is None else target.rank
    if not rank:
        return None
    alpha = (own_alpha if target.alpha is None else target.alpha) or rank
    # The scale alpha / √rank (Kalajdzievski 2023, arXiv 2312.03732), written so that every reader divides by the rank.
    return Size(rank, alpha * math.sqrt(rank) if lora.rs_lora else alpha)
