"""Adapters of a trained file, each of its own kind, whichever network the run has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from loracore import Adapter, Config, DataError, LoraTarget
from loracore.networks.changed_weight import ChangedWeight, WeightChange
from loracore_networks.dora.adapter import build_dora
from loracore_networks.full.change import FullChange
from loracore_networks.glora.change import GloraChange
from loracore_networks.ia3.change import Ia3Change
from loracore_networks.kinds import Kind, kind_of_tensors
from loracore_networks.loha.change import LohaChange
from loracore_networks.lokr.change import LokrChange
from loracore_networks.lora.building import build_lora, run_dropouts
from loracore_networks.oft.butterfly import ButterflyChange
from loracore_networks.oft.change import OftChange
from loracore_networks.place import Place

_CHANGES: Mapping[Kind, Callable[[Place, Mapping[str, Tensor]], WeightChange]] = MappingProxyType(
    {
        "loha": LohaChange.from_file,
        "lokr": LokrChange.from_file,
        "oft": OftChange.from_file,
        "boft": ButterflyChange.from_file,
        "glora": GloraChange.from_file,
        "ia3": Ia3Change.from_file,
        "full": FullChange.from_file,
    }
)


def build_from_file(target: LoraTarget, tensors: Mapping[str, Tensor], config: Config) -> Adapter:
    """Return an adapter of the tensors' own kind, with the file's sizes and scale; their values are loaded later.

    Raises DataError for tensors of no kind, and for those that do not fit the target.
    """
    kind = kind_of_tensors(tensors)
    if kind is None:
        message = f"{', '.join(sorted(tensors))}: no network that loracore knows"
        raise DataError(message, fix="leave the file out, or convert it where it was trained")
    adapter: Adapter | None
    if kind == "lora":
        adapter = build_lora(target, tensors, config)
    elif kind == "dora":
        adapter = build_dora(target, tensors, config)
    else:
        adapter = ChangedWeight(target, _CHANGES[kind](Place.of(target), tensors), run_dropouts(config))
    assert adapter is not None  # a file always gives a rank
    return adapter
