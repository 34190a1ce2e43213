from __future__ import annotations

import pytest
import torch
from loracore_networks import lora_fa
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from loracore_networks.lora_fa.adapter import LoraFaAdapter, build_lora_fa
from torch import nn

from loracore import Config, LoraTarget, NetworkOptions


def config(rank: int = 4) -> Config:
    return Config([NetworkOptions(network_dim=rank), LoraOptions(conv_dim=rank)], {})


def target(layer: nn.Linear | nn.Conv2d) -> LoraTarget:
    return LoraTarget("lora_unet_x", (layer,), ("x",), "unet")


def fresh(layer: nn.Linear | nn.Conv2d, rank: int = 4) -> LoraFaAdapter:
    adapter = build_lora_fa(target(layer), None, config(rank))
    assert adapter is not None
    return adapter


@pytest.mark.parametrize("layer", [nn.Linear(200, 5), nn.Conv2d(200, 5, 3)])
def test_down_starts_normal_with_the_fields_variance(layer: nn.Linear | nn.Conv2d) -> None:
    torch.manual_seed(0)
    down = fresh(layer, 50).lora.down
    assert down.std().item() == pytest.approx((2 / 250) ** 0.5, rel=0.03)
    assert down.abs().max() > 3 * (2 / 250) ** 0.5  # no uniform numbers


def test_up_alone_is_trained_and_lora_plus_finds_nothing() -> None:
    layer = nn.Linear(6, 5)
    adapter = fresh(layer)
    adapter(0, torch.randn(2, 6), torch.zeros(2, 5), (layer,)).sum().backward()
    (up,) = adapter.trained_parameters()
    assert up is adapter.lora.up
    assert up.grad is not None
    assert adapter.lora.down.grad is None
    assert adapter.up_parameters() == ()


def test_no_inputs_are_kept_for_the_backward_pass() -> None:
    inputs, kept = torch.randn(2, 6, requires_grad=True), []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    layer = nn.Linear(6, 5).requires_grad_(requires_grad=False)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        fresh(layer)(0, inputs, layer(inputs), (layer,))
    assert kept
    assert inputs.data_ptr() not in kept


def test_its_file_is_a_plain_lora() -> None:
    layer = nn.Linear(6, 5)
    first = fresh(layer)
    nn.init.normal_(first.lora.up)
    plain = build_lora(target(layer), first.file_tensors(), config())
    assert plain is not None
    plain.load_file_tensors(first.file_tensors())
    weights = [layer.weight]
    assert torch.equal(plain.weight_change(0, weights), first.weight_change(0, weights))


def test_only_up_gives_way_to_the_largest_norm() -> None:
    layer = nn.Linear(6, 5)
    adapter = fresh(layer)
    nn.init.normal_(adapter.lora.up)
    before = adapter.lora.down.clone()
    adapter.limit_norm(0.1)
    assert torch.equal(adapter.lora.down, before)
    assert adapter.weight_change(0, [layer.weight]).norm().item() == pytest.approx(0.1, rel=1e-5)


def test_its_hooks_have_loras_options_and_findings() -> None:
    assert lora_fa.options() == (LoraOptions,)
    options = Config([NetworkOptions(), LoraOptions(conv_alpha=2)], {"conv_alpha": "--conv_alpha"})
    assert [finding.option for finding in lora_fa.check_options(options)] == ["conv_alpha"]


def test_lora_plus_is_refused() -> None:
    options = Config([NetworkOptions(), LoraOptions()], {"loraplus_unet_lr_ratio": "--network_args"})
    found = lora_fa.check_options(options)
    assert [(finding.fate, finding.option) for finding in found] == [("unsupported", "loraplus_unet_lr_ratio")]


def test_no_rank_leaves_a_target_out() -> None:
    assert build_lora_fa(target(nn.Conv2d(6, 5, 3)), None, Config([NetworkOptions(), LoraOptions()], {})) is None
