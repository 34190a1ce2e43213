from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
import torch
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn

from loracore import Config, LoraTarget, NetworkOptions
from loracore.config.options import BlockOptions
from loracore.networks.network import Network, build_network
from loracore.training.results import snapshots
from loracore.training.results.snapshots import Snapshots


@pytest.fixture
def network() -> Network:
    config = Config([NetworkOptions(network_dim=2), BlockOptions(), LoraOptions()], {})
    layers: list[nn.Linear | nn.Conv2d] = [nn.Linear(4, 6), nn.Conv2d(3, 5, 3)]
    targets = [LoraTarget(f"lora_unet_{place}", (layer,), (str(place),), "unet") for place, layer in enumerate(layers)]
    network = build_network(targets, lambda target, weights: build_lora(target, weights, config))
    fill(network, 1.0)
    return network


def fill(network: Network, number: float) -> None:
    with torch.no_grad():
        for parameter in network.modules.parameters():
            parameter.fill_(number)


def values(tensors: Mapping[str, Tensor]) -> set[float]:
    return {number for name, tensor in tensors.items() if "alpha" not in name for number in tensor.flatten().tolist()}


def test_a_copy_stays_as_it_was_while_the_network_moves(network: Network) -> None:
    shadow = Snapshots(network).take({})
    fill(network, 2.0)
    assert values(shadow.file_tensors(torch.float32)) == {1.0}


def test_a_copy_has_the_files_names_shapes_and_dtype(network: Network) -> None:
    found = Snapshots(network).take({}).file_tensors(torch.bfloat16)
    wanted = network.file_tensors(torch.bfloat16)
    assert {name: (one.shape, one.dtype) for name, one in found.items()} == {
        name: (one.shape, one.dtype) for name, one in wanted.items()
    }


def test_some_tensors_have_others_in_their_place(network: Network) -> None:
    instead = {one: torch.full_like(one, 3.0) for one in network.modules.parameters()}
    assert values(Snapshots(network).take(instead).file_tensors(torch.float32)) == {3.0}


def test_stretches_of_any_length_hold_the_same(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = network.file_tensors(torch.float32)
    for stage in (1, 100, 10**6):
        monkeypatch.setattr(snapshots, "STAGE", stage)
        found = Snapshots(network).take({}).file_tensors(torch.float32)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_third_copy_waits_until_one_is_given_back(network: Network) -> None:
    copies = Snapshots(network)
    first, _ = copies.take({}), copies.take({})
    third = threading.Thread(target=copies.take, args=({},))
    third.start()
    third.join(0.05)
    assert third.is_alive()
    copies.give_back(first)
    third.join()


def test_averages_lose_nothing_to_the_dtype_of_training(network: Network) -> None:
    network.modules.to(torch.bfloat16)
    trained = list(network.modules.parameters())
    instead = {one: torch.full(one.shape, 1.001) for one in trained}  # in bf16: 1
    found = Snapshots(network, trained).take(instead)
    assert values(found.file_tensors(torch.float32)) == {torch.tensor(1.001).item()}
    assert values(found.file_tensors(torch.bfloat16)) == {1.0}
