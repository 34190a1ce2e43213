"""Samples that go without a text encoder, in training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from loracore.noise.rng import SampleRng, sent
from loracore.types import TextConditioning


def dropped(said: TextConditioning, rates: Mapping[str, float], rng: SampleRng) -> TextConditioning:
    """Return what encoders said, with zeros for each one in its ``rate`` of the samples.

    An encoder's tensors are named as in ``rates``, the pooled one with "_pooled" behind it. All rates draw, those of 0
    too, so that no encoder's draw depends on the others' rates.
    """
    drawn = rng.uniform(len(rates)) < torch.tensor([*rates.values()])
    if not any(rates.values()):
        return said
    missing = dict(zip(rates, drawn.unbind(1), strict=True))
    return TextConditioning(
        {name: _without(tensor, missing[name.removesuffix("_pooled")]) for name, tensor in said.tensors.items()}
    )


def _without(tensor: Tensor, missing: Tensor) -> Tensor:
    """Return a tensor (B, …) with zeros in the samples where ``missing`` (B) is true."""
    return tensor.masked_fill(sent(missing, tensor.device).view(-1, *[1] * (tensor.dim() - 1)), 0)
