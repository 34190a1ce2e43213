from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions, findings
from torch import nn
from torch.nn import functional

from loracore import Adapter, Config, DataError, LoraTarget, NetworkOptions, SampleRng
from loracore.networks.network import build_network

LAYERS: dict[str, tuple[nn.Linear | nn.Conv2d, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 5), (3, 7, 6)),
    "conv1x1": (nn.Conv2d(6, 5, 1), (3, 6, 4, 4)),
    "conv3x3": (nn.Conv2d(6, 5, 3, padding=1), (3, 6, 4, 4)),
    "strided": (nn.Conv2d(6, 5, 3, stride=2, padding=1), (3, 6, 4, 4)),
}


def target(*layers: nn.Linear | nn.Conv2d, needs_conv: bool = False, rank: int | None = None) -> LoraTarget:
    return LoraTarget("lora_unet_x", layers, ("x",), "unet", needs_conv=needs_conv, rank=rank)


def config(network: NetworkOptions | None = None, lora: LoraOptions | None = None) -> Config:
    return Config([network or NetworkOptions(), lora or LoraOptions()], {})


def trained(adapter: Adapter | None) -> LoraAdapter:
    assert isinstance(adapter, LoraAdapter)
    torch.manual_seed(3)
    nn.init.normal_(adapter.up)
    return adapter


@pytest.mark.parametrize("kind", LAYERS)
def test_live_output_equals_the_merged_weight(kind: str) -> None:
    layer, shape = LAYERS[kind]
    lora = config(NetworkOptions(network_dim=2), LoraOptions(conv_dim=2))
    adapter = trained(build_lora(target(layer), None, lora))
    inputs = torch.randn(shape)
    live = adapter(0, inputs, layer(inputs), ())
    weight = layer.weight + adapter.weight_change(0, [layer.weight])
    if isinstance(layer, nn.Linear):
        merged = functional.linear(inputs, weight, layer.bias)
    else:
        merged = functional.conv2d(inputs, weight, layer.bias, layer.stride, layer.padding)
    assert torch.allclose(live, merged, atol=1e-5)


def test_layers_of_one_target_share_the_down_factor() -> None:
    layers = (nn.Linear(6, 5), nn.Linear(6, 3))
    adapter = trained(build_lora(target(*layers), None, config()))
    assert adapter.down.shape == (4, 6)
    assert adapter.up.shape == (8, 4)
    changes = [adapter.weight_change(index, [layer.weight for layer in layers]) for index in range(2)]
    assert changes[1].shape == (3, 6)
    whole = adapter.up @ adapter.down * (1 / 4)
    assert torch.allclose(torch.cat(changes), whole)


def test_a_fresh_adapter_changes_nothing() -> None:
    layer = nn.Linear(6, 5)
    adapter = build_lora(target(layer), None, config())
    assert adapter is not None
    assert torch.equal(adapter(0, torch.ones(1, 6), torch.zeros(1, 5), ()), torch.zeros(1, 5))
    assert adapter.down.abs().max() <= 6**-0.5


def test_ranks_follow_the_kind_of_layer() -> None:
    options = config(NetworkOptions(network_dim=8, network_alpha=4), LoraOptions(conv_dim=2, conv_alpha=3))
    found = {kind: build_lora(target(layer), None, options) for kind, (layer, _) in LAYERS.items()}
    assert {kind: (one.rank, one.alpha_value) for kind, one in found.items() if one} == {
        "linear": (8, 4),
        "conv1x1": (8, 4),
        "conv3x3": (2, 3),
        "strided": (2, 3),
    }


def test_convolutions_wait_for_conv_dim() -> None:
    assert build_lora(target(LAYERS["conv3x3"][0]), None, config()) is None
    assert build_lora(target(LAYERS["linear"][0], needs_conv=True), None, config()) is None
    assert build_lora(target(LAYERS["linear"][0], needs_conv=True), None, config(lora=LoraOptions(conv_dim=2)))


def test_the_architectures_rank_wins_and_zero_means_none() -> None:
    chosen = build_lora(target(nn.Linear(6, 5), rank=3), None, config())
    assert chosen is not None
    assert chosen.rank == 3
    assert build_lora(target(nn.Linear(6, 5), rank=0), None, config()) is None


@pytest.mark.parametrize("alpha", [0.0, None])
def test_no_alpha_means_rank(alpha: float | None) -> None:
    adapter = build_lora(target(nn.Linear(6, 5)), None, config(NetworkOptions(network_alpha=alpha)))
    assert adapter is not None
    assert adapter.alpha_value == 4


def test_file_tensors_are_the_fields() -> None:
    adapter = trained(build_lora(target(LAYERS["conv3x3"][0]), None, config(lora=LoraOptions(conv_dim=2))))
    shapes = {name: list(tensor.shape) for name, tensor in adapter.file_tensors().items()}
    assert shapes == {"alpha": [], "lora_down.weight": [2, 6, 3, 3], "lora_up.weight": [5, 2, 1, 1]}
    assert list(shapes) == ["alpha", "lora_down.weight", "lora_up.weight"]


def test_a_file_gives_rank_and_alpha() -> None:
    first = trained(build_lora(target(nn.Linear(6, 5)), None, config(NetworkOptions(network_dim=3, network_alpha=2))))
    second = build_lora(target(nn.Linear(6, 5)), first.file_tensors(), config())
    assert second is not None
    second.load_file_tensors(first.file_tensors())
    assert (second.rank, second.alpha_value) == (3, 2)
    assert torch.equal(second.up, first.up)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (NetworkOptions(network_dim=2), "lora_down.weight has shape"),
        (NetworkOptions(network_alpha=3), "alpha is 1 in the file and 3"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(options: NetworkOptions, message: str) -> None:
    first = trained(build_lora(target(nn.Linear(6, 5)), None, config()))
    second = trained(build_lora(target(nn.Linear(6, 5)), None, config(options)))
    with pytest.raises(DataError, match=message):
        second.load_file_tensors(first.file_tensors())


def test_another_kind_of_network_is_an_error() -> None:
    adapter = trained(build_lora(target(nn.Linear(6, 5)), None, config()))
    with pytest.raises(DataError, match="the file is a LoHa"):
        adapter.load_file_tensors({"hada_w1_a": torch.zeros(1)})
    with pytest.raises(DataError, match=r"not those of this LoRA: unknown unheard_of; missing lora_down\.weight"):
        adapter.load_file_tensors({"unheard_of": torch.zeros(1)})
    with pytest.raises(DataError, match=r"lora_down\.weight is missing"):
        build_lora(target(nn.Linear(6, 5)), {"hada_w1_a": torch.zeros(1)}, config())


def test_large_norms_are_scaled_down_as_the_field_does(data: Path) -> None:
    case = json.loads((data / "training.json").read_text(encoding="utf-8"))["scale_weight_norms"]
    targets = [
        LoraTarget("lora_unet_a", (nn.Linear(4, 3),), ("a",), "unet"),
        LoraTarget("lora_unet_b", (nn.Linear(3, 3),), ("b",), "unet"),
    ]
    chosen = config(NetworkOptions(network_dim=2, network_alpha=1))
    network = build_network(targets, lambda target, weights: build_lora(target, weights, chosen))
    before = {name: torch.tensor(tensor) for name, tensor in case["before"].items()}
    network.load(before | {f"{target.key}.alpha": torch.tensor(1.0) for target in targets}, "before")
    limits = network.limit_norms(1.0)
    assert limits is not None
    after = network.file_tensors(torch.float32)
    for name, tensor in case["after"].items():
        torch.testing.assert_close(after[name], torch.tensor(tensor), rtol=1e-5, atol=1e-6)
    assert limits.keys_scaled == case["keys_scaled"]
    assert (limits.average.item(), limits.largest.item()) == pytest.approx((case["mean"], case["max"]), rel=1e-5)


def dropped(lora: LoraOptions, network: NetworkOptions | None = None, samples: int = 400) -> torch.Tensor:
    """Return the change of many samples with all factors one, network scale one."""
    layer = nn.Linear(2, 1)
    base = network or NetworkOptions(network_dim=4, network_alpha=4)
    adapter = trained(build_lora(target(layer), None, config(base, lora)))
    with torch.no_grad():
        adapter.down.fill_(0.5)
        adapter.up.fill_(1)
    adapter.train()
    adapter.draw_masks(SampleRng(0, "adapters", 0, range(samples)))
    change: torch.Tensor = adapter(0, torch.ones(samples, 3, 2), torch.zeros(samples, 3, 1), ())
    return change.detach()


def test_rank_dropout_takes_ranks_from_samples_and_keeps_the_mean() -> None:
    change = dropped(LoraOptions(rank_dropout=0.5))
    assert torch.equal(change[:, 0], change[:, 2])  # a sample's tokens share their mask
    assert set(change.flatten().tolist()) == {0, 2, 4, 6, 8}
    assert change.mean() == pytest.approx(4, rel=0.1)


def test_module_dropout_takes_whole_samples() -> None:
    change = dropped(LoraOptions(module_dropout=0.25))
    assert set(change.flatten().tolist()) == {0, 4}
    assert (change == 0).float().mean() == pytest.approx(0.25, abs=0.06)


def test_network_dropout_takes_single_neurons() -> None:
    change = dropped(LoraOptions(), NetworkOptions(network_dim=4, network_alpha=4, network_dropout=0.5))
    assert not torch.equal(change[:, 0], change[:, 2])
    assert change.mean() == pytest.approx(4, rel=0.1)


def test_network_dropout_of_a_sample_is_the_same_in_any_batch_and_in_every_call() -> None:
    options = config(NetworkOptions(network_dropout=0.5))
    layers = (nn.Linear(6, 5), nn.Linear(6, 5))
    adapter = trained(build_lora(target(*layers), None, options))
    inputs, output = torch.ones(4, 9, 6), torch.zeros(4, 9, 5)

    def hidden(positions: range) -> torch.Tensor:
        adapter.draw_masks(SampleRng(0, "adapters", 0, positions))
        found: torch.Tensor = adapter(0, inputs[: len(positions)], output[: len(positions)], ())
        assert torch.equal(found, adapter(0, inputs[: len(positions)], output[: len(positions)], ()))
        return found

    assert torch.equal(hidden(range(4)), torch.cat([hidden(range(2)), hidden(range(2, 4))]))
    with torch.no_grad():
        adapter.up[5:] = adapter.up[:5]
    assert torch.equal(adapter(0, inputs[:2], output[:2], ()), adapter(1, inputs[:2], output[:2], ()))


def test_dropout_may_be_given_as_network_argument() -> None:
    assert set(dropped(LoraOptions(dropout=0.5)).flatten().tolist()) == {0, 2, 4, 6, 8}


def test_masks_are_for_training_only() -> None:
    adapter = trained(build_lora(target(nn.Linear(6, 5)), None, config(lora=LoraOptions(rank_dropout=0.9))))
    adapter.draw_masks(SampleRng(0, "adapters", 0, [0]))
    inputs, output = torch.ones(1, 6), torch.zeros(1, 5)
    masked = adapter(0, inputs, output, ())
    adapter.clear_masks()
    assert not torch.equal(masked, adapter(0, inputs, output, ()))


def test_long_captions_share_their_samples_mask() -> None:
    adapter = trained(build_lora(target(nn.Linear(2, 1)), None, config(lora=LoraOptions(module_dropout=0.5))))
    adapter.draw_masks(SampleRng(0, "adapters", 0, range(20)))
    change = adapter(0, torch.ones(60, 7, 2), torch.zeros(60, 7, 1), ())[:, 0, 0].view(20, 3)
    assert torch.equal(change[:, 0], change[:, 2])
    assert change[:, 0].unique().numel() == 2


def test_half_precision_inputs_keep_float32_factors() -> None:
    layer = nn.Linear(6, 5).to(torch.bfloat16)
    adapter = trained(build_lora(target(layer), None, config()))
    inputs = torch.ones(1, 6, dtype=torch.bfloat16)
    found = adapter(0, inputs, layer(inputs), ())
    found.sum().backward()
    assert found.dtype == torch.bfloat16
    assert adapter.down.grad is not None
    assert adapter.down.grad.dtype == torch.float32


def test_conv_alpha_alone_is_without_effect() -> None:
    found = findings(Config([NetworkOptions(), LoraOptions(conv_alpha=2)], {"conv_alpha": "--conv_alpha"}))
    assert [finding.fate for finding in found] == ["without effect"]


def test_two_different_dropouts_are_wrong() -> None:
    tables = [NetworkOptions(network_dropout=0.1), LoraOptions(dropout=0.2)]
    found = findings(Config(tables, {"network_dropout": "--network_dropout"}))
    assert [finding.fate for finding in found] == ["wrong"]
