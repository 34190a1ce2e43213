from __future__ import annotations

import pytest
from loracore_networks.loha.change import build_loha
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import nn

from loracore import Config, LoraTarget, NetworkOptions
from loracore.networks.idle_ranks import idle_rank_notes
from loracore.networks.network import Entry, Network


def config(rank: int) -> Config:
    return Config([NetworkOptions(network_dim=rank), LoraOptions()], {})


def notes(target: LoraTarget, rank: int) -> list[str]:
    adapter = build_lora(target, None, config(rank))
    assert adapter is not None
    return list(idle_rank_notes(Network([Entry(target, adapter)])))


@pytest.mark.parametrize(("layer", "largest"), [(nn.Linear(3, 5), 3), (nn.Linear(9, 4), 4), (nn.Conv2d(1, 6, 2), 4)])
def test_ranks_beyond_the_smaller_side_are_told(layer: nn.Linear | nn.Conv2d, largest: int) -> None:
    target = LoraTarget("lora_unet_x", (layer,), ("x",), "unet", rank=largest)
    assert notes(target, largest) == []
    target = LoraTarget("lora_unet_x", (layer,), ("x",), "unet", rank=largest + 1)
    assert ["1 of 1 modules" in note and "lora_unet_x" in note for note in notes(target, largest + 1)] == [True]


@pytest.mark.parametrize(("separate", "count"), [(False, 0), (True, 1)])
def test_separate_layers_have_the_smaller_side_of_one(separate: bool, count: int) -> None:
    layers = (nn.Linear(8, 4), nn.Linear(8, 4))
    target = LoraTarget("lora_unet_x", layers, ("x", "y"), "unet", separate=separate)
    assert len(notes(target, 6)) == count


def test_products_of_pairs_use_more_ranks_than_a_weight_has() -> None:
    target = LoraTarget("lora_unet_x", (nn.Linear(3, 3),), ("x",), "unet")
    adapter = build_loha(target, config(4))
    assert adapter is not None
    assert not list(idle_rank_notes(Network([Entry(target, adapter)])))
