"""Models whose blocks have adapters, put together as a run does it, and the gradients that come out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn

from loracore import Config, LoraTarget, ModelOptions, Models, NetworkOptions
from loracore.memory.fitting import fit_models, spare_activations
from loracore.networks.network import Network, build_network

CPU = torch.device("cpu")


def memory_config(**options: Any) -> Config:
    return Config([ModelOptions(**options), NetworkOptions(network_dim=2), LoraOptions()], {})


def models_of(denoiser: nn.Module, blocks: Sequence[nn.Module]) -> Models:
    denoiser.requires_grad_(requires_grad=False)
    return Models(denoiser=denoiser, blocks={"unet": tuple(blocks)})


def adapt(blocks: Sequence[nn.Module], only: Collection[int] | None = None, device: torch.device = CPU) -> Network:
    """Put an adapter with weights of its own in front of every Linear of the blocks, or of ``only`` some."""
    targets = [
        LoraTarget(f"lora_unet_{at}_{path.replace('.', '_')}", (layer,), (path,), "unet")
        for at, block in enumerate(blocks)
        if only is None or at in only
        for path, layer in block.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    network = build_network(targets, lambda target, weights: build_lora(target, weights, memory_config()))
    generator = torch.Generator().manual_seed(3)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    network.modules.to(device)
    network.attach()
    return network


def gradients(network: Network, run: Callable[[], Tensor], steps: int = 2) -> list[Tensor]:
    """Return every adapter's gradient after some backward passes, which add up."""
    for step in range(steps):
        torch.manual_seed(step)
        run().float().square().mean().backward()  # type: ignore[no-untyped-call]  # torch's own
    found = [parameter.grad for parameter in network.modules.parameters()]
    return [gradient for gradient in found if gradient is not None]


def gradients_with(
    models: Models, run: Callable[[], Tensor], *, device: torch.device = CPU, **options: Any
) -> list[Tensor]:
    """Return the gradients of a model that is fitted by these options, as a run would."""
    config = memory_config(**options)
    fit_models(models, device, torch.float32, config)
    spare_activations(models, config)
    return gradients(adapt(models.blocks["unet"], device=device), run)


def equal(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Tell whether all are there and the same, bit by bit."""
    assert expected
    return len(found) == len(expected) and all(map(torch.equal, found, expected))
