from __future__ import annotations

import pytest
import torch
from loracore_networks.lokr.change import build_lokr
from loracore_networks.lokr.options import LokrOptions, findings
from loracore_networks.lora.options import LoraOptions
from torch import nn

from loracore import Adapter, Config, LoraTarget, NetworkOptions


def config(lokr: LokrOptions, network: NetworkOptions | None = None, *given: str) -> Config:
    places = {name: f"--{name}" for name in given}
    return Config([network or NetworkOptions(network_dim=2, network_alpha=3), LoraOptions(), lokr], places)


def build(lokr: LokrOptions, layer: nn.Linear | nn.Conv2d | None = None) -> Adapter:
    target = LoraTarget("lora_unet_x", (layer or nn.Linear(64, 96),), ("x",), "unet")
    found = build_lokr(target, config(lokr))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("lokr", "shapes"),
    [
        (LokrOptions(), {"lokr_w1": [8, 8], "lokr_w2_a": [12, 2], "lokr_w2_b": [2, 8]}),
        (LokrOptions(factor=4), {"lokr_w1": [4, 4], "lokr_w2_a": [24, 2], "lokr_w2_b": [2, 16]}),
        (LokrOptions(factor=4, full_matrix=True), {"lokr_w1": [4, 4], "lokr_w2": [24, 16]}),
        (
            LokrOptions(decompose_both=True),
            {"lokr_w1_a": [8, 2], "lokr_w1_b": [2, 8], "lokr_w2_a": [12, 2], "lokr_w2_b": [2, 8]},
        ),
        (
            LokrOptions(factor=4, unbalanced_factorization=True),
            {"lokr_w1": [24, 4], "lokr_w2_a": [4, 2], "lokr_w2_b": [2, 16]},
        ),
    ],
)
def test_options_cut_the_weight(lokr: LokrOptions, shapes: dict[str, list[int]]) -> None:
    found = {name: list(tensor.shape) for name, tensor in build(lokr).file_tensors().items()}
    assert found == {"alpha": [], **shapes}


def test_whole_factors_have_a_scale_of_one_whatever_alpha_says() -> None:
    adapter, weight = build(LokrOptions(factor=4, full_matrix=True)), torch.zeros(96, 64)
    tensors = {"lokr_w1": torch.ones(4, 4), "lokr_w2": torch.ones(24, 16), "alpha": torch.tensor(7.0)}
    adapter.load_file_tensors(tensors)
    assert torch.equal(adapter.weight_change(0, [weight]), torch.ones(96, 64))


def test_what_makes_no_sense_is_said() -> None:
    found = findings(config(LokrOptions(factor=0, decompose_both=True, full_matrix=True)))
    assert [(one.fate, one.option) for one in found] == [("wrong", "factor"), ("without effect", "decompose_both")]


def test_a_file_s_sizes_make_the_options_idle() -> None:
    network = NetworkOptions(dim_from_weights=True)
    found = findings(config(LokrOptions(factor=4), network, "factor"))
    assert [(one.fate, one.option) for one in found] == [("without effect", "factor")]
