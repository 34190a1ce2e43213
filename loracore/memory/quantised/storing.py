"""Frozen matrices are stored in fewer bits one after the other, and what that comes to is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from loracore.memory.quantised.forms import Form
from loracore.memory.quantised.linear import Original, QuantisedLinear, quantised_layers
from loracore.types import Models

_MIB = 2**20


@torch.no_grad()
def quantise(layers: Iterable[nn.Linear], form: Form, device: torch.device | None, dtype: torch.dtype) -> None:
    """Store the weights of the layers in fewer bits, one after the other, so that one of them is there twice at most.

    The work is done on the device (None: where the weight is); what comes of it stays where the weight was. ``dtype``
    is what a weight of 8 bits is read in, any other in its own.
    """
    for layer in layers:
        _quantise_one(layer, form, device or layer.weight.device, dtype)


def quantised_notes(models: Models) -> Iterator[str]:
    """Give the header's line on matrices of the denoiser that are stored in fewer bits; nothing where none is."""
    if models.denoiser is None:
        return
    layers = list(quantised_layers(models.denoiser))
    if not layers:
        return
    before = sum(layer.original.nbytes for _, layer in layers)
    after = sum(tensor.nbytes for _, layer in layers for tensor in layer.stored)
    name, worst = max(layers, key=lambda layer: layer[1].original.relative_error)
    yield (
        f"{len(layers)} matrices of the denoiser stored as {worst.form.name}: {before / _MIB:.1f} -> "
        f"{after / _MIB:.1f} MiB; largest relative error {worst.original.relative_error:.2%} ({name})"
    )


def _quantise_one(layer: nn.Linear, form: Form, device: torch.device, dtype: torch.dtype) -> None:
    weight = layer.weight.detach()
    wide = weight.to(device, dtype if weight.itemsize == 1 else weight.dtype)
    stored = form.store(wide)
    read = form.read(stored, wide.shape, torch.float32)
    original = Original(tuple(wide.shape), wide.dtype, weight.nbytes, _relative_error(wide.float(), read))
    QuantisedLinear.become(layer, form, [tensor.to(weight.device) for tensor in stored], original)


def _relative_error(weight: Tensor, read: Tensor) -> float:
    """Return |read - weight| / |weight|, norms of Frobenius; 0 for a weight of zeros and on the meta device."""
    if weight.is_meta:
        return 0.0
    norm = weight.norm().item()
    return (read - weight).norm().item() / norm if norm else 0.0
