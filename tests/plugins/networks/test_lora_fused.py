"""Layers that a file keeps fused, each with factors of its own, and layers whose halves the file swaps."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn
from torch.nn import functional

from loracore import Config, DataError, LoraTarget, NetworkOptions, SampleRng

RANK, ALPHA, INPUTS, OUTPUTS = 2, 3.0, 6, (4, 4, 4)


def config(lora: LoraOptions | None = None, *, dropout: float = 0.0) -> Config:
    network = NetworkOptions(network_dim=RANK, network_alpha=ALPHA, network_dropout=dropout)
    return Config([network, lora or LoraOptions()], {})


def fused(*, separate: bool, swapped: bool = False) -> LoraTarget:
    layers = tuple(nn.Linear(INPUTS, outputs) for outputs in OUTPUTS)
    paths = ("q", "k", "v")
    return LoraTarget("lora_unet_qkv", layers, paths, "unet", separate=separate, swapped_halves=swapped)


def halved(layer: nn.Linear | nn.Conv2d) -> LoraTarget:
    return LoraTarget("lora_unet_last", (layer,), ("last",), "unet", swapped_halves=True)


def trained(
    target: LoraTarget, weights: Mapping[str, Tensor] | None = None, options: Config | None = None
) -> LoraAdapter:
    adapter = build_lora(target, weights, options or config())
    assert isinstance(adapter, LoraAdapter)
    torch.manual_seed(3)
    nn.init.normal_(adapter.up)
    return adapter


def changes(target: LoraTarget, adapter: LoraAdapter) -> list[Tensor]:
    return [
        adapter.weight_change(index, [layer.weight for layer in target.layers]) for index in range(len(target.layers))
    ]


def change_in_file(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return what any reader of the field makes of a file: up · down · alpha / rank."""
    down, up = tensors["lora_down.weight"], tensors["lora_up.weight"]
    return up.flatten(1) @ down.flatten(1) * (tensors["alpha"] / len(down))


@pytest.mark.parametrize("target", [fused(separate=True), fused(separate=True, swapped=True), fused(separate=False)])
def test_live_outputs_equal_the_merged_weights(target: LoraTarget) -> None:
    adapter, inputs = trained(target), torch.randn(2, 5, INPUTS)
    for index, (layer, change) in enumerate(zip(target.layers, changes(target, adapter), strict=True)):
        live = adapter(index, inputs, layer(inputs), ())
        assert torch.allclose(live, functional.linear(inputs, layer.weight + change, layer.bias), atol=1e-5)


def test_separate_layers_are_one_block_diagonal_lora_in_the_file() -> None:
    target = fused(separate=True)
    adapter = trained(target)
    tensors = adapter.file_tensors()
    assert {name: list(one.shape) for name, one in tensors.items()} == {
        "alpha": [],
        "lora_down.weight": [3 * RANK, INPUTS],
        "lora_up.weight": [sum(OUTPUTS), 3 * RANK],
    }
    assert torch.count_nonzero(tensors["lora_up.weight"]) == sum(OUTPUTS) * RANK
    assert (adapter.rank, adapter.alpha_value, tensors["alpha"].item()) == (RANK, ALPHA, 3 * ALPHA)


@pytest.mark.parametrize("separate", [True, False])
def test_the_file_means_the_change_of_training(separate: bool) -> None:
    target = fused(separate=separate)
    adapter = trained(target)
    assert torch.allclose(change_in_file(adapter.file_tensors()), torch.cat(changes(target, adapter)), atol=1e-6)


def test_a_file_of_separate_layers_is_taken_back_exactly() -> None:
    target = fused(separate=True)
    tensors = trained(target).file_tensors()
    for weights in (None, tensors):  # the run's rank, or the file's
        again = trained(target, weights)
        again.load_file_tensors(tensors)
        saved = again.file_tensors()
        assert all(torch.equal(saved[name], one) for name, one in tensors.items())
        assert (again.rank, again.alpha_value) == (RANK, ALPHA)


@pytest.mark.parametrize("rank", [4, 6])
def test_one_lora_for_all_layers_is_refused_where_each_has_its_own(rank: int) -> None:
    options = Config([NetworkOptions(network_dim=rank), LoraOptions()], {})
    tensors = trained(fused(separate=False), None, options).file_tensors()
    with pytest.raises(DataError, match="leave out split_qkv"):
        trained(fused(separate=True)).load_file_tensors(tensors)
    with pytest.raises(DataError, match="leave out split_qkv"):
        trained(fused(separate=True), tensors).load_file_tensors(tensors)


def test_a_block_diagonal_file_is_an_ordinary_one_for_layers_that_share() -> None:
    separate, shared = fused(separate=True), fused(separate=False)
    first = trained(separate)
    second = trained(shared, first.file_tensors())
    second.load_file_tensors(first.file_tensors())
    assert (second.rank, second.alpha_value) == (3 * RANK, 3 * ALPHA)
    assert torch.allclose(torch.cat(changes(shared, second)), torch.cat(changes(separate, first)), atol=1e-6)


def test_every_separate_factor_gets_its_own_gradient() -> None:
    adapter, inputs = trained(fused(separate=True)), torch.randn(2, INPUTS)
    adapter(1, inputs, torch.zeros(2, OUTPUTS[1]), ()).square().sum().backward()
    assert adapter.down.grad is not None
    assert adapter.up.grad is not None
    assert [bool(part.any()) for part in adapter.down.grad.split(RANK)] == [False, True, False]  # type: ignore[no-untyped-call]  # torch's own
    assert [bool(part.any()) for part in adapter.up.grad.split(OUTPUTS)] == [False, True, False]  # type: ignore[no-untyped-call]  # torch's own


@pytest.mark.parametrize("separate", [True, False])
def test_the_norm_of_the_whole_change_is_limited(separate: bool) -> None:
    target = fused(separate=separate)
    adapter = trained(target)
    before = torch.cat(changes(target, adapter))
    adapter.limit_norm(0.5)
    after = torch.cat(changes(target, adapter))
    assert after.norm().item() == pytest.approx(0.5, rel=1e-5)
    assert torch.allclose(after / 0.5, before / before.norm(), atol=1e-5)


def test_rank_masks_of_separate_layers_differ_and_module_masks_do_not() -> None:
    inputs, output = torch.ones(40, INPUTS), torch.zeros(40, OUTPUTS[0])

    def kept(lora: LoraOptions) -> list[Tensor]:
        adapter = trained(fused(separate=True), None, config(lora))
        with torch.no_grad():
            adapter.down.fill_(1)
            adapter.up.fill_(1)
        adapter.draw_masks(SampleRng(0, "adapters", 0, range(40)))
        return [adapter(index, inputs, output, ()).detach() for index in range(3)]

    first, second, _ = kept(LoraOptions(rank_dropout=0.5))
    assert not torch.equal(first, second)
    first, second, third = kept(LoraOptions(module_dropout=0.5))
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    assert 0 < torch.count_nonzero(first[:, 0]) < 40


def test_dropped_neurons_of_separate_layers_differ() -> None:
    adapter = trained(fused(separate=True), None, config(dropout=0.5))
    with torch.no_grad():
        adapter.down.fill_(1)
        adapter.up.fill_(1)
    adapter.draw_masks(SampleRng(0, "adapters", 0, range(40)))
    inputs, output = torch.ones(40, INPUTS), torch.zeros(40, OUTPUTS[0])
    assert torch.equal(adapter(0, inputs, output, ()), adapter(0, inputs, output, ()))
    assert not torch.equal(adapter(0, inputs, output, ()), adapter(1, inputs, output, ()))


@pytest.mark.parametrize("layer", [nn.Linear(INPUTS, 8), nn.Conv2d(INPUTS, 8, 1)])
def test_swapped_halves_are_those_of_the_file(layer: nn.Linear | nn.Conv2d) -> None:
    target = halved(layer)
    adapter = trained(target)
    in_file = change_in_file(adapter.file_tensors()).view(layer.weight.shape)
    (ours,) = changes(target, adapter)
    assert torch.allclose(in_file, torch.cat([ours[4:], ours[:4]]), atol=1e-6)
    inputs = torch.randn(2, INPUTS) if isinstance(layer, nn.Linear) else torch.randn(2, INPUTS, 3, 3)
    merged = functional.linear if isinstance(layer, nn.Linear) else functional.conv2d
    live = adapter(0, inputs, layer(inputs), ())
    assert torch.allclose(live, merged(inputs, layer.weight + ours, layer.bias), atol=1e-5)


def test_no_rank_leaves_a_fused_target_out() -> None:
    target = LoraTarget("lora_unet_qkv", fused(separate=True).layers, ("q", "k", "v"), "unet", rank=0, separate=True)
    assert build_lora(target, None, config()) is None


def test_separate_layers_need_no_weights_to_be_listed() -> None:
    layers = tuple(layer.to("meta") for layer in fused(separate=True).layers)
    adapter = build_lora(LoraTarget("lora_unet_qkv", layers, ("q", "k", "v"), "unet", separate=True), None, config())
    assert adapter is not None
    assert list(adapter.file_tensors()["lora_up.weight"].shape) == [sum(OUTPUTS), 3 * RANK]
