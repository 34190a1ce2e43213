"""Noise that is more than independent normal numbers; pure functions of what has been drawn, sample by sample.

Where sd-scripts draws one number for a whole batch (a random strength, the widths of pyramid levels), or divides by the
deviation of a whole batch, every sample here has its own: what a sample sees does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def offset_strengths(strengths: Tensor, latents: Tensor, adaptive: float) -> Tensor:
    """Return the strength of every channel's offset (B,C): ``strengths`` (B), and more where channels lie off zero.

    max(0, strength + adaptive · |mean of the channel over its places|), for latents (B,C,h,w).
    """
    return (strengths[:, None] + adaptive * latents.mean(dim=(2, 3)).abs()).clamp(min=0)


def add_offsets(noise: Tensor, normal: Tensor, strengths: Tensor) -> Tensor:
    """Return noise (B,C,h,w) with one normal number (B,C) added to all of a channel, times its strength (B,1 or B,C).

    Guttenberg 2023, "Diffusion with Offset Noise": pictures then differ in their mean brightness from noise's start on.
    """
    return noise + (strengths * normal)[:, :, None, None]


def level_sizes(height: int, width: int, ratios: Sequence[float]) -> list[tuple[int, int]]:
    """Return the sizes of a pyramid's levels: level i is smaller by its own ratio to the power of i.

    The first has the full size; a level with a side of 1 is the last.
    """
    return list(_sizes(height, width, ratios))


def _sizes(height: int, width: int, ratios: Sequence[float]) -> Iterator[tuple[int, int]]:
    for level, ratio in enumerate(ratios):
        size = max(1, int(height / ratio**level)), max(1, int(width / ratio**level))
        yield size
        if 1 in size:
            return


def add_pyramid(noise: Tensor, levels: Sequence[Tensor], discount: float) -> Tensor:
    """Return a sample's noise (C,h,w) with normal noise of smaller sizes (C,h',w') on it, again of deviation 1.

    Level i is blown up, bilinear, and counts discountⁱ. Whitaker 2023, "Multi-Resolution Noise for Diffusion Model
    Training".
    """
    height, width = noise.shape[-2:]
    total = noise
    for level, small in enumerate(levels):
        large = functional.interpolate(small[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        total = total + large * discount**level
    return total / total.std()


def split_levels(drawn: Tensor, channels: int, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Return a sample's drawn numbers (N) as the levels (C,h',w') of these sizes; N is what they hold together."""
    parts = torch.split(drawn, [channels * height * width for height, width in sizes])
    return [part.view(channels, *size) for part, size in zip(parts, sizes, strict=True)]
