"""Which adapters leave something out at random: these cannot be recorded (``cuda_graphs``)."""

from __future__ import annotations

from typing import Any

import pytest
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import nn

from loracore import Config, LoraTarget, NetworkOptions
from loracore.testing.toy_adapter import ToyAdapter


def draws(layer: nn.Linear | nn.Conv2d, network: dict[str, Any], **lora: Any) -> bool:
    config = Config([NetworkOptions(network_dim=2, **network), LoraOptions(**lora)], {})
    adapter = build_lora(LoraTarget("key", (layer,), ("path",), "unet"), None, config)
    assert adapter is not None
    return adapter.draws


@pytest.mark.parametrize("network", [{}, {"network_dropout": 0.1}])
def test_a_lora_draws_where_it_has_dropouts(network: dict[str, Any]) -> None:
    layer = nn.Linear(4, 4)
    assert draws(layer, network) == bool(network)
    assert draws(layer, network, rank_dropout=0.5)
    assert draws(layer, network, module_dropout=0.5)


def test_an_adapter_without_masks_of_its_own_draws_nothing() -> None:
    assert not ToyAdapter(LoraTarget("key", (nn.Linear(4, 4),), ("path",), "unet"), 2).draws
