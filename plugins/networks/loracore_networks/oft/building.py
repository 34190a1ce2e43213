"""From the options of a run to the rotations of one target."""

from __future__ import annotations

from loracore import Config, ConfigError, LoraTarget, NetworkOptions
from loracore.networks.changed_weight import ChangedWeight
from loracore_networks.factorization import butterfly_sizes, divisors, two_factors
from loracore_networks.kinds import TITLES
from loracore_networks.lora.building import run_dropouts
from loracore_networks.lora.options import DEFAULT_RANK
from loracore_networks.oft.butterfly import ButterflyChange
from loracore_networks.oft.change import OftChange
from loracore_networks.oft.options import OftOptions
from loracore_networks.place import Place, refuse_separate
from loracore_networks.ranks import chosen_size


def build_oft(target: LoraTarget, config: Config) -> ChangedWeight | None:
    """Return ``network_dim`` rotations in front of this target, or None when the options leave it out.

    ``network_alpha`` is the constraint. Raises ConfigError when the outputs are no multiple of the number of blocks.
    """
    network, place = config[NetworkOptions], Place.of(target)
    # A number of blocks for this very place (conv_block_dims, or the architecture's option) asks for it by itself.
    is_extra = target.needs_conv or (place.is_large and target.rank is None)
    if is_extra and not config[OftOptions].enable_conv:
        return None
    count = (network.network_dim or DEFAULT_RANK) if target.rank is None else target.rank
    if not count:
        return None
    refuse_separate(target, TITLES["oft"])
    if place.outputs % count:
        message = f"'{target.key}' has {place.outputs} outputs, which {count} blocks do not divide"
        raise ConfigError(message, where=_place_of_rank(target), fix=f"give {_nearest(divisors(place.outputs), count)}")
    constraint = network.network_alpha if target.alpha is None else target.alpha
    return ChangedWeight(target, OftChange(place, count, constraint or 0.0), run_dropouts(config))


def build_diag_oft(target: LoraTarget, config: Config, constraint: float) -> ChangedWeight | None:
    """Return OFT as LyCORIS has it, or None without a rank: blocks of ``network_dim`` rows at most, where that goes."""
    size = chosen_size(target, config)
    if size is None:
        return None
    refuse_separate(target, TITLES["oft"])
    place = Place.of(target)
    _, count = two_factors(place.outputs, size.rank)
    return ChangedWeight(target, OftChange(place, count, constraint), run_dropouts(config))


def build_boft(target: LoraTarget, config: Config, constraint: float) -> ChangedWeight | None:
    """Return BOFT in front of this target, or None without a rank: blocks of ``network_dim`` rows at most.

    Raises ConfigError for outputs that cannot be cut into a power of two of such blocks, of an even size.
    """
    size = chosen_size(target, config)
    if size is None:
        return None
    refuse_separate(target, TITLES["boft"])
    place = Place.of(target)
    sizes = butterfly_sizes(place.outputs)
    fitting = [each for each in sizes if each <= size.rank]
    if not fitting:
        message = (
            f"'{target.key}' has {place.outputs} outputs, which no power of two of blocks up to {size.rank} divides"
        )
        fix = f"give {sizes[0]} or more" if sizes else "BOFT needs even numbers of outputs: take algo=diag-oft"
        raise ConfigError(message, where=_place_of_rank(target), fix=fix)
    count = place.outputs // fitting[-1]
    blocks = (count.bit_length(), count, fitting[-1], fitting[-1])
    return ChangedWeight(target, ButterflyChange(place, blocks, constraint), run_dropouts(config))


def _place_of_rank(target: LoraTarget) -> str:
    """Return where a target's number comes from: options of blocks and layers are network arguments."""
    return "--network_dim" if target.rank is None else "--network_args"


def _nearest(numbers: list[int], wanted: int) -> str:
    """Return the numbers next to the wanted one, below and above it."""
    below = [each for each in numbers if each < wanted][-1:]
    above = [each for each in numbers if each > wanted][:1]
    return " or ".join(str(each) for each in [*below, *above])
