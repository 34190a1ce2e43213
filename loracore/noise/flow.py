"""Flow matching: where timesteps lie, noise on a straight line to the picture, and loss weights; pure functions.

After Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (arXiv 2403.03206).
A level is where a sample stands between picture (0) and noise (1); a timestep is a level in whole thousandths; sigma is
the share of noise that a timestep means. Everything is float32: in bfloat16 timesteps above 256 would lose their last
digit.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

#: Timesteps from the picture to pure noise.
STEPS = 1000
#: Stands in for a share of noise of zero, where something is divided by it.
_LEAST_SIGMA = 1 / STEPS


def logit_normal_levels(normal: Tensor, mean: float, std: float) -> Tensor:
    """Return levels whose logits are normal, from standard normal numbers (paper, equation 19)."""
    return torch.sigmoid(mean + std * normal)


def mode_levels(uniform: Tensor, scale: float) -> Tensor:
    """Return levels with more (scale > 0) or less weight on the middle, from uniform numbers (paper, equation 20)."""
    levels = 1 - uniform - scale * (torch.cos(pi / 2 * uniform) ** 2 - 1 + uniform)
    return levels.clamp(0, 1)  # a scale beyond the paper's range would leave it


def shifted_levels(levels: Tensor, shift: float) -> Tensor:
    """Return levels moved towards noise (shift > 1) or towards the picture (paper, equation 23)."""
    return (levels * shift / (1 + (shift - 1) * levels)).clamp(max=1)


def level_timesteps(levels: Tensor, smallest: int, largest: int) -> Tensor:
    """Return whole timesteps, float32, of levels stretched over [smallest, largest]; only a level of 1 is largest."""
    return torch.floor(levels.float() * (largest - smallest) + smallest)


def noise_share(timesteps: Tensor) -> Tensor:
    """Return sigma, in [0, 1], of timesteps in [0, 1000]."""
    return timesteps.float() / STEPS


def add_noise(latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Return sigma · noise + (1 - sigma) · latents for sigma (B) and latents and noise (B, …)."""
    share = _like(sigma, latents)
    return share * noise + (1 - share) * latents


def picture_of(noisy: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """Return the latents (B, …) that a velocity, noise - latents, leads back to from noisy ones."""
    return noisy - _like(sigma, noisy) * velocity


def plain_velocity_weight(sigma: Tensor) -> Tensor:
    """Return sigma⁻² (B), which makes of the picture's error the velocity's; finite where there is no noise."""
    return sigma.clamp(min=_LEAST_SIGMA) ** -2


def cosine_map_weight(sigma: Tensor) -> Tensor:
    """Return 2 / (π (1 - 2σ + 2σ²)) (B): the density of a cosine schedule's levels (paper, equation 21)."""
    return 2 / (pi * (1 - 2 * sigma + 2 * sigma**2))


def _like(per_sample: Tensor, tensor: Tensor) -> Tensor:
    """Return numbers (B) with the dimensions of a tensor (B, …)."""
    return per_sample.view(-1, *[1] * (tensor.dim() - 1))
