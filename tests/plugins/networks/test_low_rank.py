"""What a LoRA says of its factors is what its forward adds; those that add anything else say nothing."""

from __future__ import annotations

import pytest
import torch
from loracore_networks.dylora.adapter import DyloraAdapter
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora_fa.adapter import LoraFaAdapter
from torch import Tensor, nn

from loracore import Adapter, LoraTarget
from loracore.networks.masks import Dropouts
from loracore.networks.network import Entry, Network

INPUTS = 6
WIDTHS = {"one": (8,), "fused": (8, 3, 5), "separate": (8, 3, 5), "swapped": (8,), "swapped odd": (7,)}


def target(place: str) -> LoraTarget:
    torch.manual_seed(1)
    layers = tuple(nn.Linear(INPUTS, width).double().requires_grad_(requires_grad=False) for width in WIDTHS[place])
    paths = tuple(str(index) for index in range(len(layers)))
    swapped = place.startswith("swapped")
    return LoraTarget("lora_unet_x", layers, paths, "unet", separate=place == "separate", swapped_halves=swapped)


def lora(place: LoraTarget, dropouts: Dropouts | None = None) -> LoraAdapter:
    adapter = LoraAdapter(place, 2, 3.0, dropouts or Dropouts()).double()
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    return adapter


def outcome(outputs: list[Tensor], adapter: Adapter) -> list[Tensor]:
    """Outputs, and the gradients of the trained factors."""
    adapter.zero_grad()
    torch.cat([output.sin().flatten() for output in outputs]).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    return [*outputs, *(one.grad.clone() for one in adapter.parameters() if one.grad is not None)]


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("kind", ["lora", "lora_fa"])
@pytest.mark.parametrize("place", WIDTHS)
def test_layers_with_the_factors_give_what_forward_gives(place: str, kind: str, prepared: bool) -> None:
    where, inputs = target(place), torch.randn(2, 5, INPUTS).double()
    adapter: Adapter = lora(where) if kind == "lora" else LoraFaAdapter(lora(where))
    plain = [adapter(index, inputs, layer(inputs), where.layers) for index, layer in enumerate(where.layers)]
    expected = outcome(plain, adapter)
    assert all(adapter.low_rank(index) is not None for index in range(len(where.layers)))
    network = Network([Entry(where, adapter)])
    network.attach()
    if prepared:
        with network.prepared():
            found = outcome([layer(inputs) for layer in where.layers], adapter)
    else:
        found = outcome([layer(inputs) for layer in where.layers], adapter)
    assert len(found) == len(expected) == len(where.layers) + (2 if kind == "lora" else 1)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dropouts", [Dropouts(neurons=0.1), Dropouts(ranks=0.1), Dropouts(modules=0.1)])
def test_a_lora_that_leaves_something_out_tells_no_factors(dropouts: Dropouts) -> None:
    assert lora(target("one"), dropouts).low_rank(0) is None


def test_neither_a_convolution_nor_a_lora_of_drawn_ranks_tells_factors() -> None:
    convolution = LoraTarget("lora_unet_x", (nn.Conv2d(4, 4, 1),), ("x",), "unet")
    assert LoraAdapter(convolution, 2, 1.0, Dropouts()).low_rank(0) is None
    assert DyloraAdapter(lora(target("one")), 1).low_rank(0) is None
