"""Saved tensors mean in LyCORIS's own modules what they mean here: an independent reference, imported by tests only.

It is no dependency of the plugin: importing it takes seconds and half of the field's libraries with it, it prints and
adds a handler to stdout, and it chooses kernels by the machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from loracore_networks.dora.options import DoraOptions
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.factorization import butterfly_sizes, two_factors
from loracore_networks.lokr.options import LokrOptions
from loracore_networks.lora.options import LoraOptions
from loracore_networks.lycoris.building import build_algorithm
from loracore_networks.lycoris.options import Algorithm, LycorisOptions
from torch import Tensor, nn

from loracore import Adapter, Config, LoraTarget, NetworkOptions

RANK, ALPHA = 4, 2.0
LAYERS: dict[str, tuple[nn.Linear | nn.Conv2d, tuple[int, ...]]] = {
    "linear": (nn.Linear(24, 32), (2, 5, 24)),
    "conv1x1": (nn.Conv2d(24, 32, 1), (2, 24, 4, 4)),
    "conv3x3": (nn.Conv2d(24, 32, 3, padding=1), (2, 24, 4, 4)),
    "strided": (nn.Conv2d(24, 32, 3, stride=2, padding=1), (2, 24, 5, 5)),
}
CLASSES: dict[Algorithm, tuple[str, str]] = {
    "loha": ("loha", "LohaModule"),
    "lokr": ("lokr", "LokrModule"),
    "diag-oft": ("diag_oft", "DiagOFTModule"),
    "boft": ("boft", "ButterflyOFTModule"),
    "glora": ("glora", "GLoRAModule"),
    "ia3": ("ia3", "IA3Module"),
    "full": ("full", "FullModule"),
}


@pytest.fixture(scope="module")
def lycoris() -> Mapping[str, Any]:
    """Return LyCORIS's modules by algorithm."""
    return {
        algo: vars(importlib.import_module(f"lycoris.modules.{module}"))[name]
        for algo, (module, name) in CLASSES.items()
    }


def ours(algo: Algorithm, layer: nn.Linear | nn.Conv2d, own: LycorisOptions | None = None, **options: Any) -> Adapter:
    """Return an adapter with random tensors; ``options`` are LoKr's and LoRA's."""
    lokr = {name: value for name, value in options.items() if name in LokrOptions.__slots__}
    lora = {name: value for name, value in options.items() if name not in lokr}
    tables = [
        own or LycorisOptions(algo=algo),
        LoraOptions(**lora),
        LokrOptions(**lokr),
        DoraOptions(),
        DyloraOptions(),
    ]
    config = Config([NetworkOptions(network_dim=RANK, network_alpha=ALPHA), *tables], {})
    adapter = build_algorithm(LoraTarget("lora_unet_x", (layer,), ("x",), "unet"), config)
    assert adapter is not None
    torch.manual_seed(3)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.3)
    return adapter


def theirs(kind: Any, layer: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor, **options: Any) -> Tensor:
    """Return the output of LyCORIS's module in front of the layer, with our saved tensors."""
    module = kind("lora_unet_x", layer, 1.0, RANK, ALPHA, **options)
    module.load_state_dict({name: tensor.detach().clone() for name, tensor in tensors.items()}, strict=False)
    output: Tensor = module(inputs).detach()
    return output


CASES: list[tuple[Algorithm, dict[str, Any]]] = [
    ("loha", {}),
    ("loha", {"rs_lora": True}),
    ("loha", {"use_tucker": True}),
    ("lokr", {}),
    ("lokr", {"factor": 2}),
    ("lokr", {"factor": 2, "rs_lora": True}),
    ("lokr", {"factor": 2, "use_tucker": True}),
    ("lokr", {"factor": 4, "full_matrix": True}),
    ("lokr", {"factor": 2, "unbalanced_factorization": True, "decompose_both": True}),
    ("diag-oft", {}),
    ("boft", {}),
    ("glora", {}),
    ("ia3", {}),
    ("full", {}),
]


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize(("algo", "options"), CASES, ids=str)
def test_lycoris_makes_the_same_of_our_tensors(
    lycoris: Mapping[str, Any], algo: Algorithm, options: dict[str, Any], shape: str
) -> None:
    layer, size = LAYERS[shape]
    adapter, inputs = ours(algo, layer, **options), torch.randn(size)
    live = adapter(0, inputs, layer(inputs), (layer,))
    found = theirs(lycoris[algo], layer, adapter.file_tensors(), inputs, **options)
    assert torch.allclose(live, found, atol=1e-5)
    assert not torch.allclose(live, layer(inputs), atol=1e-2)


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("algo", ["loha", "lokr", "diag-oft", "boft", "glora", "ia3"])
def test_names_and_shapes_are_lycoris_own(lycoris: Mapping[str, Any], algo: Algorithm, shape: str) -> None:
    layer, _ = LAYERS[shape]
    found = lycoris[algo]("lora_unet_x", layer, 1.0, RANK, ALPHA).state_dict()
    assert {name: tensor.shape for name, tensor in ours(algo, layer).file_tensors().items()} == {
        name: tensor.shape for name, tensor in found.items()
    }


@pytest.mark.parametrize("algo", ["diag-oft", "boft"])
def test_a_constraint_trains_as_in_lycoris_and_is_saved_applied(lycoris: Mapping[str, Any], algo: Algorithm) -> None:
    layer, size = LAYERS["linear"]
    adapter, inputs = ours(algo, layer, LycorisOptions(algo=algo, constraint=0.01)), torch.randn(size)
    live = adapter(0, inputs, layer(inputs), (layer,))
    tensors = adapter.file_tensors()
    raw = {"oft_blocks": next(adapter.parameters()), "alpha": torch.tensor(0.01)}
    assert torch.allclose(live, theirs(lycoris[algo], layer, raw, inputs, constraint=0.01), atol=1e-5)
    assert torch.allclose(live, theirs(lycoris[algo], layer, tensors, inputs), atol=1e-5)
    assert tensors["alpha"] == 0


@pytest.mark.parametrize("number", [1, 2, 7, 12, 16, 64, 96, 127, 128, 250, 320, 360, 640, 1280, 1536, 2432])
@pytest.mark.parametrize("largest", [-1, 1, 2, 4, 5, 8, 16, 100, 5000])
def test_layers_are_cut_as_lycoris_cuts_them(lycoris: Mapping[str, Any], number: int, largest: int) -> None:
    functional = importlib.import_module("lycoris.functional")
    assert two_factors(number, largest) == functional.factorization(number, largest)
    count = functional.power2factorization(number, largest)[1]
    sizes = [size for size in butterfly_sizes(number) if largest == -1 or size <= largest]
    assert (number // sizes[-1] if sizes else 0) == count
