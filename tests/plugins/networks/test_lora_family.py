"""What every network of LoRA's family keeps to, on every kind of layer: live = merged = saved and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import torch
from loracore_networks import dora, dylora, lora, lora_fa
from loracore_networks.dora.options import DoraOptions
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from loracore import Adapter, Config, LoraTarget, NetworkOptions, SampleRng

PLAIN = LoraOptions(conv_dim=4, conv_alpha=2)
NETWORK = NetworkOptions(network_dim=4, network_alpha=2)
KINDS: Mapping[str, tuple[Any, tuple[object, ...]]] = MappingProxyType(
    {
        "lora": (lora, (PLAIN,)),
        "rs_lora": (lora, (replace(PLAIN, rs_lora=True),)),
        "tucker": (lora, (replace(PLAIN, use_tucker=True),)),
        "lora_fa": (lora_fa, (PLAIN,)),
        "lora_fa_tucker": (lora_fa, (replace(PLAIN, use_tucker=True),)),
        "dylora": (dylora, (PLAIN, DyloraOptions(unit=2))),
        "dora": (dora, (PLAIN, DoraOptions())),
        "dora_on_output": (dora, (PLAIN, DoraOptions(wd_on_output=True))),
        "dora_rs": (dora, (replace(PLAIN, rs_lora=True), DoraOptions())),
        "dora_tucker": (dora, (replace(PLAIN, use_tucker=True), DoraOptions())),
    }
)
PLACES = ("linear", "conv1x1", "conv3x3", "strided", "dilated", "fused", "separate", "swapped", "swapped_conv")


def target(place: str) -> LoraTarget:
    torch.manual_seed(1)
    layers: dict[str, tuple[nn.Linear | nn.Conv2d, ...]] = {
        "linear": (nn.Linear(6, 8),),
        "conv1x1": (nn.Conv2d(6, 8, 1),),
        "conv3x3": (nn.Conv2d(6, 8, 3, padding=1),),
        "strided": (nn.Conv2d(6, 8, 3, stride=2, padding=1),),
        "dilated": (nn.Conv2d(6, 8, 3, padding=2, dilation=2),),
        "fused": (nn.Linear(6, 8), nn.Linear(6, 3), nn.Linear(6, 5)),
        "separate": (nn.Linear(6, 8), nn.Linear(6, 3), nn.Linear(6, 5)),
        "swapped": (nn.Linear(6, 8),),
        "swapped_conv": (nn.Conv2d(6, 8, 1),),
    }
    chosen = layers[place]
    paths = tuple(str(index) for index in range(len(chosen)))
    swapped = place.startswith("swapped")
    return LoraTarget("lora_unet_x", chosen, paths, "unet", separate=place == "separate", swapped_halves=swapped)


def inputs_of(place: LoraTarget) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(3, 7, 6) if isinstance(place.layers[0], nn.Linear) else torch.randn(3, 6, 5, 5)


def fresh(kind: str, place: LoraTarget, weights: Mapping[str, Tensor] | None = None) -> Adapter:
    module, tables = KINDS[kind]
    torch.manual_seed(3)
    adapter: Adapter | None = module.build_adapter(place, weights, Config([NETWORK, *tables], {}))
    assert adapter is not None
    return adapter


def trained(kind: str, place: LoraTarget) -> Adapter:
    """Return an adapter whose every trained number has moved."""
    adapter = fresh(kind, place)
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in adapter.trained_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return adapter


def live(adapter: Adapter, place: LoraTarget, inputs: Tensor) -> list[Tensor]:
    """Return every layer's adapted output."""
    return [adapter(index, inputs, layer(inputs), place.layers) for index, layer in enumerate(place.layers)]


def merged(adapter: Adapter, place: LoraTarget, inputs: Tensor) -> list[Tensor]:
    """Return what the layers give with their changes added to their weights."""
    weights, found = [layer.weight.detach() for layer in place.layers], []
    for index, layer in enumerate(place.layers):
        weight = layer.weight + adapter.weight_change(index, weights)
        if isinstance(layer, nn.Linear):
            found.append(functional.linear(inputs, weight, layer.bias))
        else:
            assert not isinstance(layer.padding, str)
            stride, padding, dilation = layer.stride, layer.padding, layer.dilation
            found.append(functional.conv2d(inputs, weight, layer.bias, stride, padding, dilation))
    return found


def same(first: list[Tensor], second: list[Tensor], tolerance: float = 1e-5) -> bool:
    return all(torch.allclose(one, other, atol=tolerance) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_live_outputs_equal_the_merged_weights(kind: str, place: str) -> None:
    where = target(place)
    adapter, inputs = trained(kind, where), inputs_of(where)
    outputs = live(adapter, where, inputs)
    assert same(outputs, merged(adapter, where, inputs))
    assert not same(outputs, [layer(inputs) for layer in where.layers], 1e-2)  # or there was nothing to compare


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_changes_nothing(kind: str, place: str) -> None:
    where = target(place)
    inputs = inputs_of(where)
    assert same(live(fresh(kind, where), where, inputs), [layer(inputs) for layer in where.layers], 1e-6)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_alone_gives_the_same_outputs(kind: str, place: str) -> None:
    where = target(place)
    adapter, inputs = trained(kind, where), inputs_of(where)
    tensors = {name: tensor.detach().clone() for name, tensor in adapter.file_tensors().items()}
    for weights in (tensors, None):  # dim_from_weights, or the options of the training
        again = fresh(kind, where, weights)
        again.load_file_tensors(tensors)
        assert same(live(again, where, inputs), live(adapter, where, inputs), 1e-6)
        assert all(torch.equal(again.file_tensors()[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_what_is_trained_and_nothing_else(kind: str, place: str) -> None:
    where = target(place)
    adapter, inputs = trained(kind, where), inputs_of(where)
    torch.autograd.backward(torch.stack([output.square().sum() for output in live(adapter, where, inputs)]).sum())
    moved = adapter.trained_parameters()
    for parameter in adapter.parameters():
        if any(parameter is one for one in moved):
            assert parameter.grad is not None
            assert parameter.grad.ne(0).float().mean() > 0.9
        else:
            assert parameter.grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointed_gradients_are_the_same(kind: str) -> None:
    where = target("conv3x3")
    gradients = []
    for checkpointed in (False, True):
        adapter, inputs = trained(kind, where), inputs_of(where)
        adapter.draw_masks(SampleRng(0, "adapters", 0, range(3)))
        run = live(adapter, where, inputs)
        if checkpointed:
            run = checkpoint(live, adapter, where, inputs, use_reentrant=False)
        torch.autograd.backward(run[0].square().sum())
        gradients.append([parameter.grad for parameter in adapter.trained_parameters()])
    assert all(one is not None and torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_listed_without_weights(kind: str) -> None:
    where = target("conv3x3")
    listed = replace(where, layers=tuple(layer.to("meta") for layer in where.layers))
    shapes = {name: tensor.shape for name, tensor in fresh(kind, target("conv3x3")).file_tensors().items()}
    adapter = fresh(kind, listed)
    assert {name: tensor.shape for name, tensor in adapter.file_tensors().items()} == shapes
    assert all(parameter.is_meta for parameter in adapter.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_made_on_meta_takes_a_file_over(kind: str) -> None:
    where = target("conv3x3")
    adapter, inputs = trained(kind, where), inputs_of(where)
    tensors = {name: tensor.detach().clone() for name, tensor in adapter.file_tensors().items()}
    listed = replace(where, layers=tuple(layer.to("meta") for layer in target("conv3x3").layers))
    again = fresh(kind, listed, tensors).to_empty(device="cpu")
    again.load_file_tensors(tensors)
    assert same(live(again, where, inputs), live(adapter, where, inputs), 1e-6)


@pytest.mark.parametrize("kind", ["lora", "tucker", "lora_fa", "lora_fa_tucker", "dylora"])
@pytest.mark.parametrize("place", ["linear", "conv3x3", "fused", "separate"])
def test_the_norm_of_the_whole_change_is_limited(kind: str, place: str) -> None:
    where = target(place)
    adapter, weights = trained(kind, where), [layer.weight for layer in where.layers]

    def change() -> Tensor:
        changes = [adapter.weight_change(index, weights).flatten() for index in range(len(weights))]
        return torch.cat(changes).detach()

    before = change()
    largest = before.norm().item() / 2
    adapter.limit_norm(largest * 3)
    assert torch.equal(change(), before)
    adapter.limit_norm(largest)
    assert torch.allclose(change(), before / 2, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_module_dropout_leaves_whole_samples_as_they_were(kind: str) -> None:
    module, tables = KINDS[kind]
    where = target("linear")
    dropping = [replace(one, module_dropout=0.5) if isinstance(one, LoraOptions) else one for one in tables]
    adapter = module.build_adapter(where, None, Config([NETWORK, *dropping], {}))
    adapter.load_file_tensors(trained(kind, where).file_tensors())
    adapter.draw_masks(SampleRng(0, "adapters", 0, range(40)))
    inputs = torch.ones(40, 2, 6)
    unchanged = [
        torch.allclose(one, where.layers[0](inputs[:1])) for one in torch.split(live(adapter, where, inputs)[0], 1)
    ]
    assert 8 < sum(unchanged) < 32


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_layers_keep_float32_factors(kind: str) -> None:
    where = target("linear")
    halved = replace(where, layers=tuple(layer.to(torch.bfloat16) for layer in where.layers))
    adapter = trained(kind, halved)
    (output,) = live(adapter, halved, inputs_of(halved).to(torch.bfloat16))
    torch.autograd.backward(output.sum())
    assert output.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in adapter.parameters()} == {torch.float32}
