"""rsLoRA: scale = alpha / √rank, written so that every reader's alpha / rank gives it."""

from __future__ import annotations

import math

import pytest
import torch
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions, findings
from torch import Tensor, nn

from loracore import Config, DataError, LoraTarget, NetworkOptions

RANK, ALPHA = 9, 6.0


def config(*, rs_lora: bool = True, dim_from_weights: bool = False, alpha: float = ALPHA) -> Config:
    network = NetworkOptions(network_dim=RANK, network_alpha=alpha, dim_from_weights=dim_from_weights)
    return Config([network, LoraOptions(rs_lora=rs_lora)], {})


def trained(target: LoraTarget, options: Config, weights: dict[str, Tensor] | None = None) -> LoraAdapter:
    adapter = build_lora(target, weights, options)
    assert isinstance(adapter, LoraAdapter)
    torch.manual_seed(3)
    nn.init.normal_(adapter.up)
    return adapter


@pytest.fixture
def target() -> LoraTarget:
    return LoraTarget("lora_unet_x", (nn.Linear(12, 10),), ("x",), "unet")


def test_the_change_is_scaled_by_the_root_of_the_rank(target: LoraTarget) -> None:
    adapter = trained(target, config())
    change = adapter.weight_change(0, [target.layers[0].weight])
    assert torch.allclose(change, adapter.up @ adapter.down * (ALPHA / math.sqrt(RANK)), atol=1e-5)


def test_pefts_own_layer_with_use_rslora_gives_the_same(target: LoraTarget) -> None:
    adapter, layer = trained(target, config()), target.layers[0]
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=["0"], use_rslora=True)
    reference = peft.inject_adapter_in_model(lora, nn.Sequential(layer))
    inputs = torch.randn(4, 12)
    live = adapter(0, inputs, layer(inputs), ())
    with torch.no_grad():
        reference[0].lora_A["default"].weight.copy_(adapter.down)
        reference[0].lora_B["default"].weight.copy_(adapter.up)
    assert torch.allclose(live, reference(inputs), atol=1e-5)


def test_a_reader_that_knows_nothing_of_it_gets_the_scale_of_training(target: LoraTarget) -> None:
    tensors = {name: one.detach() for name, one in trained(target, config()).file_tensors().items()}
    assert tensors["alpha"].item() == pytest.approx(ALPHA * math.sqrt(RANK))
    for options in (config(rs_lora=False), config(dim_from_weights=True)):
        plain = trained(target, options, tensors)
        assert plain.alpha_value / plain.rank == pytest.approx(ALPHA / math.sqrt(RANK))


def test_its_own_file_is_taken_back_and_another_scale_is_an_error(target: LoraTarget) -> None:
    tensors = trained(target, config()).file_tensors()
    trained(target, config()).load_file_tensors(tensors)
    with pytest.raises(DataError, match="alpha is 18 in the file and 6 in this run"):
        trained(target, config(rs_lora=False)).load_file_tensors(tensors)


def test_no_alpha_means_rank(target: LoraTarget) -> None:
    assert trained(target, config(alpha=0)).alpha_value == pytest.approx(RANK * math.sqrt(RANK))


def test_separate_layers_keep_the_scale_in_the_file() -> None:
    layers = (nn.Linear(12, 4), nn.Linear(12, 4))
    adapter = trained(LoraTarget("lora_unet_qk", layers, ("q", "k"), "unet", separate=True), config())
    tensors = adapter.file_tensors()
    scale = tensors["alpha"].item() / len(tensors["lora_down.weight"])
    assert scale == pytest.approx(ALPHA / math.sqrt(RANK))


def test_it_is_without_effect_where_the_file_gives_the_scale() -> None:
    assert [finding.option for finding in findings(config(dim_from_weights=True))] == ["rs_lora"]
    assert findings(config()) == []
