"""What all networks that change weights have in common, on every kind of layer, built as `lycoris` builds them."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from loracore_networks.dora.options import DoraOptions
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.lokr.options import LokrOptions
from loracore_networks.lora.options import LoraOptions
from loracore_networks.lycoris.building import build_algorithm
from loracore_networks.lycoris.options import Algorithm, LycorisOptions
from loracore_networks.reading import build_from_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from loracore import Adapter, Config, ConfigError, LoraTarget, NetworkOptions

CHANGES: tuple[Algorithm, ...] = ("loha", "lokr", "diag-oft", "boft", "glora", "ia3", "full")
LAYERS = ("linear", "conv1x1", "conv3x3", "strided", "fused", "swapped")


def target(shape: str) -> LoraTarget:
    torch.manual_seed(1)
    layers: dict[str, tuple[nn.Linear | nn.Conv2d, ...]] = {
        "linear": (nn.Linear(6, 16),),
        "conv1x1": (nn.Conv2d(6, 16, 1),),
        "conv3x3": (nn.Conv2d(6, 16, 3, padding=1),),
        "strided": (nn.Conv2d(6, 16, 3, stride=2, padding=1),),
        "fused": (nn.Linear(6, 8), nn.Linear(6, 16), nn.Linear(6, 8)),
        "swapped": (nn.Linear(6, 16),),
    }
    return LoraTarget("lora_unet_x", layers[shape], ("x",), "unet", swapped_halves=shape == "swapped")


def inputs(shape: str) -> Tensor:
    return torch.randn(2, 6, 5, 5) if shape in {"conv1x1", "conv3x3", "strided"} else torch.randn(2, 3, 6)


def config(algo: Algorithm, *, tucker: bool = False) -> Config:
    lokr = LokrOptions(factor=2)
    tables = [LycorisOptions(algo=algo), LoraOptions(use_tucker=tucker), lokr, DoraOptions(), DyloraOptions()]
    return Config([NetworkOptions(network_dim=2, network_alpha=3.0), *tables], {})


def fresh(algo: Algorithm, place: LoraTarget, *, tucker: bool = False) -> Adapter:
    adapter = build_algorithm(place, config(algo, tucker=tucker))
    assert adapter is not None
    return adapter


def trained(algo: Algorithm, place: LoraTarget, *, tucker: bool = False) -> Adapter:
    adapter = fresh(algo, place, tucker=tucker)
    torch.manual_seed(3)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.3)
    return adapter


def applied(layer: nn.Module, weight: Tensor, entering: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if isinstance(layer, nn.Linear):
        return functional.linear(entering, weight, layer.bias)
    assert not isinstance(layer.padding, str)
    return functional.conv2d(entering, weight, layer.bias, layer.stride, layer.padding)


def changes(adapter: Adapter, place: LoraTarget) -> list[Tensor]:
    weights = [layer.weight.detach() for layer in place.layers]
    return [adapter.weight_change(index, weights) for index in range(len(weights))]


@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("algo", CHANGES)
def test_live_outputs_equal_the_merged_weights(algo: Algorithm, shape: str, tucker: bool) -> None:
    place, entering = target(shape), inputs(shape)
    adapter = trained(algo, place, tucker=tucker)
    for index, (layer, change) in enumerate(zip(place.layers, changes(adapter, place), strict=True)):
        live = adapter(index, entering, layer(entering), place.layers)
        assert torch.allclose(live, applied(layer, layer.weight + change, entering), atol=1e-5)
        assert change.abs().max() > 1e-2


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("algo", CHANGES)
def test_a_fresh_adapter_changes_nothing(algo: Algorithm, shape: str) -> None:
    place = target(shape)
    for change in changes(fresh(algo, place), place):
        assert change.abs().max() < 1e-6


@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("algo", CHANGES)
def test_a_file_gives_the_same_change_in_a_run_of_any_network(algo: Algorithm, shape: str, tucker: bool) -> None:
    place = target(shape)
    first = trained(algo, place, tucker=tucker)
    tensors = {name: tensor.detach().clone() for name, tensor in first.file_tensors().items()}
    second = build_from_file(place, tensors, Config([NetworkOptions()], {}))
    second.load_file_tensors(tensors)
    for one, other in zip(changes(first, place), changes(second, place), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert (second.rank, second.alpha_value) == (first.rank, first.alpha_value)


@pytest.mark.parametrize("algo", CHANGES)
def test_gradients_reach_every_tensor_and_survive_checkpointing(algo: Algorithm) -> None:
    place, entering = target("conv3x3"), inputs("conv3x3").requires_grad_()
    adapter, layer = trained(algo, place), place.layers[0]
    adapter(0, entering, layer(entering), place.layers).square().sum().backward()
    plain = [parameter.grad for parameter in adapter.parameters()]
    adapter.zero_grad()
    output = checkpoint(lambda x: adapter(0, x, layer(x), place.layers), entering, use_reentrant=False)
    assert isinstance(output, Tensor)
    output.square().sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it so
    for first, parameter in zip(plain, adapter.parameters(), strict=True):
        assert first is not None
        assert parameter.grad is not None
        assert first.abs().max() > 0
        assert torch.equal(first, parameter.grad)


@pytest.mark.parametrize("algo", CHANGES)
def test_sizes_are_known_without_weights(algo: Algorithm) -> None:
    with torch.device("meta"):
        place = target("conv3x3")
    adapter = fresh(algo, place)
    assert all(parameter.is_meta for parameter in adapter.parameters())
    real = fresh(algo, target("conv3x3"))
    shapes = [{name: one.shape for name, one in each.file_tensors().items()} for each in (adapter, real)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("algo", CHANGES)
def test_adapters_in_half_precision_compute_the_change_in_float32(algo: Algorithm) -> None:
    place = target("linear")
    adapter = trained(algo, place).to(torch.bfloat16)
    assert changes(adapter, place)[0].dtype == torch.float32
    entering = inputs("linear").bfloat16()
    assert adapter(0, entering, torch.zeros(2, 3, 16).bfloat16(), place.layers).dtype == torch.bfloat16


@pytest.mark.parametrize("algo", ["loha", "lokr", "full"])
@pytest.mark.parametrize("tucker", [False, True])
def test_norms_are_limited(algo: Algorithm, tucker: bool) -> None:
    place = target("conv3x3")
    adapter = trained(algo, place, tucker=tucker)
    before = changes(adapter, place)[0].norm().detach()
    adapter.limit_norm(float(before) / 4)
    assert torch.isclose(changes(adapter, place)[0].norm(), before / 4)


@pytest.mark.parametrize("algo", CHANGES)
def test_layers_with_factors_of_their_own_are_refused(algo: Algorithm) -> None:
    layers = (nn.Linear(6, 8), nn.Linear(6, 8))
    place = LoraTarget("lora_unet_qkv", layers, ("q", "k"), "unet", separate=True)
    with pytest.raises(ConfigError, match=r"lora_unet_qkv.*at once"):
        fresh(algo, place)


@pytest.mark.parametrize("algo", get_args(Algorithm))
def test_a_rank_of_zero_leaves_a_target_out(algo: Algorithm) -> None:
    if algo != "tlora":
        place = LoraTarget("lora_unet_x", (nn.Linear(6, 8),), ("x",), "unet", rank=0)
        assert build_algorithm(place, config(algo)) is None


@pytest.mark.parametrize("algo", CHANGES)
def test_whether_a_file_fits_is_known_without_weights(algo: Algorithm) -> None:
    tensors = trained(algo, target("conv3x3")).file_tensors()
    with torch.device("meta"):
        place = target("conv3x3")
    adapter = build_from_file(place, tensors, Config([NetworkOptions()], {}))
    adapter.load_file_tensors(tensors)
    filled = adapter.to_empty(device="cpu")
    filled.load_file_tensors(tensors)
    for name, tensor in filled.file_tensors().items():
        assert torch.allclose(tensor, tensors[name], atol=1e-6)
