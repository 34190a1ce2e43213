"""Larger convolutions as three factors."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions, findings
from loracore_networks.lora.tucker import TuckerAdapter
from torch import Tensor, nn

from loracore import Config, ConfigError, DataError, LoraTarget, NetworkOptions, SampleRng


def config(lora: LoraOptions | None = None, network: NetworkOptions | None = None) -> Config:
    return Config([network or NetworkOptions(), lora or LoraOptions(conv_dim=3, conv_alpha=2, use_tucker=True)], {})


def target(layer: nn.Linear | nn.Conv2d, *, separate: bool = False) -> LoraTarget:
    return LoraTarget("lora_unet_x", (layer,), ("x",), "unet", separate=separate)


def trained(weights: Mapping[str, Tensor] | None = None, options: Config | None = None) -> TuckerAdapter:
    adapter = build_lora(target(nn.Conv2d(6, 5, 3, padding=1)), weights, options or config())
    assert isinstance(adapter, TuckerAdapter)
    torch.manual_seed(3)
    nn.init.normal_(adapter.up)
    return adapter


def test_file_tensors_are_the_fields() -> None:
    shapes = {name: list(one.shape) for name, one in trained().file_tensors().items()}
    assert shapes == {
        "alpha": [],
        "lora_down.weight": [3, 6, 1, 1],
        "lora_mid.weight": [3, 3, 3, 3],
        "lora_up.weight": [5, 3, 1, 1],
    }


def test_the_change_is_the_sum_over_both_ranks() -> None:
    adapter = trained()
    change = adapter.weight_change(0, [torch.zeros(5, 6, 3, 3)])
    up, down = adapter.up[:, :, 0, 0], adapter.down[:, :, 0, 0]
    for x in range(3):
        for y in range(3):
            assert torch.allclose(change[:, :, x, y], up @ adapter.mid[:, :, x, y] @ down * (2 / 3), atol=1e-6)


def test_lycoris_rebuilds_the_same_change_from_the_file() -> None:
    locon = pytest.importorskip("lycoris.modules.locon")
    adapter = trained()
    tensors = {name: one.detach() for name, one in adapter.file_tensors().items()}
    layer = nn.Conv2d(6, 5, 3, padding=1)
    names = ("lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha")
    module = locon.LoConModule.make_module_from_state_dict("x", layer, *(tensors[name] for name in names), None)
    change = module.get_diff_weight(1.0)[0]
    assert torch.allclose(change, adapter.weight_change(0, [layer.weight]), atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Linear(6, 5), nn.Conv2d(6, 5, 1)])
def test_only_larger_convolutions_have_a_middle_factor(layer: nn.Linear | nn.Conv2d) -> None:
    adapter = build_lora(target(layer), None, config())
    assert adapter is not None
    assert set(adapter.file_tensors()) == {"alpha", "lora_down.weight", "lora_up.weight"}


def test_a_file_with_a_middle_factor_is_read_without_the_option() -> None:
    tensors = trained().file_tensors()
    again = trained(tensors, config(LoraOptions()))
    again.load_file_tensors(tensors)
    assert (again.rank, again.alpha_value) == (3, 2)
    assert torch.equal(again.mid, tensors["lora_mid.weight"])


def test_a_plain_pair_does_not_take_it_over() -> None:
    plain = build_lora(target(nn.Conv2d(6, 5, 3)), None, config(LoraOptions(conv_dim=3, conv_alpha=2)))
    assert plain is not None
    with pytest.raises(DataError, match="give the network argument use_tucker"):
        plain.load_file_tensors(trained().file_tensors())


def test_a_middle_factor_for_a_linear_layer_is_an_error() -> None:
    with pytest.raises(DataError, match="no convolution"):
        build_lora(target(nn.Linear(6, 5)), trained().file_tensors(), config())


def test_layers_with_factors_of_their_own_have_no_middle_factor() -> None:
    with pytest.raises(ConfigError, match="split_qkv"):
        build_lora(target(nn.Conv2d(6, 5, 3), separate=True), None, config())


def test_rank_dropout_takes_ranks_behind_the_middle_factor() -> None:
    adapter = trained(None, config(LoraOptions(conv_dim=4, conv_alpha=4, use_tucker=True, rank_dropout=0.5)))
    with torch.no_grad():
        adapter.down.fill_(1 / 6)
        adapter.mid.fill_(1 / 36)
        adapter.up.fill_(1)
    adapter.draw_masks(SampleRng(0, "adapters", 0, range(200)))
    change = adapter(0, torch.ones(200, 6, 5, 5), torch.zeros(200, 5, 5, 5), ())[:, 0, 2, 2]
    assert set(change.detach().mul(1e3).round().div(1e3).tolist()) == {0, 2, 4, 6, 8}


@pytest.mark.parametrize(
    ("lora", "network"),
    [
        (LoraOptions(use_tucker=True), NetworkOptions()),
        (LoraOptions(use_tucker=True, conv_dim=2), NetworkOptions(dim_from_weights=True)),
    ],
)
def test_it_is_without_effect_where_nothing_takes_it(lora: LoraOptions, network: NetworkOptions) -> None:
    found = findings(config(lora, network))
    assert [(finding.fate, finding.option) for finding in found] == [("without effect", "use_tucker")]
