"""Whether a file's tensors fit the adapter that is to take them over."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from torch import Tensor

from loracore import DataError
from loracore.networks.spellings import ALPHA
from loracore_networks.kinds import TITLES, kind_of

MID, MAGNITUDE = "lora_mid.weight", "dora_scale"


def check_names(found: Mapping[str, Tensor], own: Collection[str]) -> None:
    """Raise DataError unless the file has the adapter's tensors, alpha or not, and no others."""
    if set(found) - {ALPHA} != set(own) - {ALPHA}:
        message = f"tensors {sorted(found)} where this run's network has {sorted({ALPHA, *own})}"
        raise DataError(message, fix=_kind(found, own))


def check_shapes(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Raise DataError when a file's tensor and the adapter's own, by name, differ in shape."""
    for name, (found, own) in pairs.items():
        if found.shape != own.shape:
            message = f"{name} has shape {list(found.shape)}, this run's network {list(own.shape)}"
            raise DataError(message, fix="set network_dim to the file's rank, or give --dim_from_weights")


def check_alpha(found: float, own: float) -> None:
    """Raise DataError when the alpha of a file is another."""
    if not math.isclose(found, own, rel_tol=1e-2):  # files in half precision round it
        message = f"alpha is {found:g} in the file and {own:g} in this run: its strength would change"
        raise DataError(message, fix=f"set network_alpha = {found:g}, or give --dim_from_weights")


def _kind(found: Mapping[str, Tensor], own: Collection[str]) -> str:
    """Return how to get a network of the file's kind."""
    if MAGNITUDE in found and MAGNITUDE not in own:
        return 'the file is a DoRA: give network_module = "dora"'
    if MID in found and MID not in own:
        return "the file has Tucker factors: give the network argument use_tucker, or --dim_from_weights"
    kind = kind_of({name: tensor.shape for name, tensor in found.items()})
    other = "of another kind of network" if kind is None else f"a {TITLES[kind]}"
    return f"the file is {other}: give the network_module that it was trained with"
