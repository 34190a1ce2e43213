from __future__ import annotations

import pytest
import torch
from loracore_networks.lora.options import LoraOptions
from loracore_networks.oft.building import build_boft
from torch import nn

from loracore import Adapter, Config, ConfigError, LoraTarget, NetworkOptions


def build(outputs: int, rank: int) -> Adapter:
    with torch.device("meta"):
        layer = nn.Linear(8, outputs)
    target = LoraTarget("lora_unet_x", (layer,), ("x",), "unet")
    found = build_boft(target, Config([NetworkOptions(network_dim=rank), LoraOptions()], {}), 0.0)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("outputs", "rank", "shape"),
    [
        (64, 4, [5, 16, 4, 4]),
        (128, 8, [5, 16, 8, 8]),
        (320, 16, [6, 32, 10, 10]),
        (640, 16, [7, 64, 10, 10]),
        (1280, 16, [8, 128, 10, 10]),
        (1536, 16, [8, 128, 12, 12]),
        (2432, 64, [7, 64, 38, 38]),
    ],
)
def test_layers_of_real_models_are_cut_into_a_power_of_two_of_even_blocks(
    outputs: int, rank: int, shape: list[int]
) -> None:
    assert list(build(outputs, rank).file_tensors()["oft_blocks"].shape) == shape


@pytest.mark.parametrize(
    ("outputs", "fix"), [(2432, "give 38 or more"), (15, "BOFT needs even numbers of outputs: take algo=diag-oft")]
)
def test_a_layer_that_cannot_be_cut_is_an_error_that_names_it(outputs: int, fix: str) -> None:
    with pytest.raises(ConfigError, match=f"'lora_unet_x' has {outputs} outputs") as caught:
        build(outputs, 4)
    assert caught.value.problems[0].fix == fix
