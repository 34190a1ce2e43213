"""From LyCORIS's name of an algorithm to the network that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from loracore import Adapter, Config, LoraTarget
from loracore_networks.dora.adapter import build_dora
from loracore_networks.dylora.adapter import build_dylora
from loracore_networks.full.change import build_full
from loracore_networks.glora.change import build_glora
from loracore_networks.ia3.change import build_ia3
from loracore_networks.loha.change import build_loha
from loracore_networks.lokr.change import build_lokr
from loracore_networks.lora.building import build_lora
from loracore_networks.lycoris.options import Algorithm, LycorisOptions, translated
from loracore_networks.oft.building import build_boft, build_diag_oft

_BUILDERS: Mapping[Algorithm, Callable[[LoraTarget, Config], Adapter | None]] = MappingProxyType(
    {
        "lora": lambda target, config: build_lora(target, None, config),
        "locon": lambda target, config: build_lora(target, None, config),
        "dora": lambda target, config: build_dora(target, None, config),
        "dylora": lambda target, config: build_dylora(target, None, config),
        "loha": build_loha,
        "lokr": build_lokr,
        "glora": build_glora,
        "ia3": build_ia3,
        "full": build_full,
        "diag-oft": lambda target, config: build_diag_oft(target, config, config[LycorisOptions].constraint),
        "boft": lambda target, config: build_boft(target, config, config[LycorisOptions].constraint),
    }
)


def build_algorithm(target: LoraTarget, config: Config) -> Adapter | None:
    """Return a new adapter of the run's algorithm, or None without a rank for this target."""
    lycoris = config[LycorisOptions]
    algorithm: Algorithm = "dora" if lycoris.decomposes else lycoris.algo
    return _BUILDERS[algorithm](target, translated(config))
