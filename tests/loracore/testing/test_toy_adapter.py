from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from loracore import DataError, LoraTarget
from loracore.testing.toy_adapter import ToyAdapter


def target(*layers: nn.Linear | nn.Conv2d) -> LoraTarget:
    return LoraTarget("lora_unet_x", layers, ("x",) * len(layers), "unet")


def moved(adapter: ToyAdapter) -> ToyAdapter:
    nn.init.normal_(adapter.up)
    return adapter


def test_it_changes_nothing_at_first() -> None:
    layer, inputs = nn.Linear(3, 4), torch.randn(2, 3)
    output = layer(inputs)
    assert torch.equal(ToyAdapter(target(layer), 2)(0, inputs, output, [layer]), output)


@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.Conv2d(3, 4, 3, padding=1, stride=2)])
def test_its_weight_change_is_what_forward_does(layer: nn.Linear | nn.Conv2d) -> None:
    adapter = moved(ToyAdapter(target(layer), 2))
    inputs = torch.randn(2, 3) if isinstance(layer, nn.Linear) else torch.randn(2, 3, 6, 6)
    adapted = adapter(0, inputs, layer(inputs), [layer])
    with torch.no_grad():
        layer.weight += adapter.weight_change(0, [layer.weight])
    torch.testing.assert_close(adapted, layer(inputs))


def test_layers_of_one_target_share_down_and_have_rows_of_up() -> None:
    layers = [nn.Linear(3, 4), nn.Linear(3, 5)]
    adapter = moved(ToyAdapter(target(*layers), 2))
    inputs = torch.randn(2, 3)
    together = functional.linear(functional.linear(inputs, adapter.down), adapter.up)
    apart = [adapter(index, inputs, torch.zeros(()), layers) for index in range(2)]
    torch.testing.assert_close(torch.cat(apart, dim=1), together)


def test_factors_of_another_layer_are_refused_and_own_ones_taken_over() -> None:
    one, other = (moved(ToyAdapter(target(nn.Linear(3, 4)), 2)) for _ in range(2))
    one.load_file_tensors(other.file_tensors())
    assert torch.equal(one.up, other.up)
    with pytest.raises(DataError, match="not the factors of this layer"):
        one.load_file_tensors(ToyAdapter(target(nn.Linear(3, 5)), 2).file_tensors())
