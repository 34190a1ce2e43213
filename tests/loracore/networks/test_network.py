from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn

from loracore import Adapter, Config, DataError, LoraTarget, NetworkOptions
from loracore.networks.network import Entry, Network, build_network

CONFIG = Config([NetworkOptions(network_dim=2), LoraOptions()], {})


def build(target: LoraTarget, weights: Mapping[str, Tensor] | None) -> Adapter | None:
    return build_lora(target, weights, CONFIG)


@pytest.fixture
def layers() -> tuple[nn.Linear, nn.Linear]:
    return nn.Linear(4, 4), nn.Linear(4, 3)


@pytest.fixture
def network(layers: tuple[nn.Linear, nn.Linear]) -> Network:
    targets = [LoraTarget(f"lora_unet_{n}", (layer,), (str(n),), "unet") for n, layer in enumerate(layers)]
    return build_network(targets, build)


def randomise(network: Network) -> None:
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter)


def test_attached_adapters_change_their_layers_until_detached(
    network: Network, layers: tuple[nn.Linear, nn.Linear]
) -> None:
    inputs = torch.ones(1, 4)
    before = layers[0](inputs)
    randomise(network)
    network.attach()
    assert not torch.equal(layers[0](inputs), before)
    network.detach()
    assert torch.equal(layers[0](inputs), before)


def test_detaching_gives_back_a_forward_that_was_there_before(
    network: Network, layers: tuple[nn.Linear, nn.Linear]
) -> None:
    def double(inputs: torch.Tensor) -> torch.Tensor:
        return 2 * inputs

    layers[0].forward = double  # type: ignore[assignment]  # as float8 weights do
    network.attach()
    assert layers[0].forward is not double
    network.detach()
    assert layers[0].forward is double


def test_a_saved_network_reads_back_whole(network: Network) -> None:
    randomise(network)
    tensors = network.file_tensors(torch.float32)
    assert list(tensors)[:3] == ["lora_unet_0.alpha", "lora_unet_0.lora_down.weight", "lora_unet_0.lora_up.weight"]
    randomise(network)
    assert network.load(tensors, "file") == 2
    again = network.file_tensors(torch.float32)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_saved_tensors_are_copies(network: Network) -> None:
    tensors = network.file_tensors(torch.float32)
    randomise(network)
    assert not torch.equal(
        tensors["lora_unet_0.lora_up.weight"], network.file_tensors(torch.float32)["lora_unet_0.lora_up.weight"]
    )


def test_a_file_may_know_only_some_modules(network: Network) -> None:
    tensors = {name: one for name, one in network.file_tensors(torch.float32).items() if "_0." in name}
    assert network.load(tensors, "file") == 1


def test_modules_without_a_place_suggest_the_nearest(network: Network) -> None:
    with pytest.raises(DataError, match="did you mean 'lora_unet_"):
        network.load({"lora_unet_5.alpha": torch.tensor(1.0)}, "file")


def test_an_empty_file_is_an_error(network: Network) -> None:
    with pytest.raises(DataError, match="no tensors"):
        network.load({}, "file")


def test_ranks_from_a_file_leave_other_targets_alone(layers: tuple[nn.Linear, nn.Linear]) -> None:
    targets = [LoraTarget(f"lora_unet_{n}", (layer,), (str(n),), "unet") for n, layer in enumerate(layers)]
    weights = {"lora_unet_1.lora_down.weight": torch.zeros(3, 4), "lora_unet_1.lora_up.weight": torch.zeros(3, 3)}
    found = build_network(targets, build, weights)
    assert [(entry.target.key, entry.adapter.rank) for entry in found.entries] == [("lora_unet_1", 3)]


def test_changes_of_norms_are_told_from_foreign_modules(network: Network) -> None:
    tensors = {**network.file_tensors(torch.float32), "lora_unet_norm.w_norm": torch.ones(4)}
    with pytest.raises(DataError, match=r"a\.safetensors: the file changes 1 norms, for example 'lora_unet_norm'"):
        network.load(tensors, "a.safetensors")


class Silent(Adapter):
    """Tells no norm."""

    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:  # noqa: ARG002  # the base's arguments
        return output

    def file_tensors(self) -> Mapping[str, Tensor]:
        return {}

    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        assert not tensors

    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        return torch.zeros_like(weights[index])

    @property
    def rank(self) -> int:
        return 1

    @property
    def alpha_value(self) -> float:
        return 1.0


def test_adapters_that_tell_no_norm_count_in_none(network: Network) -> None:
    randomise(network)
    silent = Entry(network.entries[0].target, Silent())
    limits, mixed = network.limit_norms(0.01), Network([*network.entries, silent]).limit_norms(0.01)
    assert limits is not None
    assert mixed is not None
    assert limits.keys_scaled == len(network.entries)
    assert (mixed.average, mixed.largest) == pytest.approx((0.01, 0.01), rel=1e-5)
    assert Network([silent]).limit_norms(0.01) is None
