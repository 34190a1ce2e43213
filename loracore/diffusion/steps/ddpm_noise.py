"""The noise of a step under ``DdpmOptions``: what is predicted, and what the denoiser sees in its place."""

from __future__ import annotations

import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.diffusion.options import DdpmOptions
from loracore.noise import offsets
from loracore.noise.rng import SampleRng, sent
from loracore.types import Batch


def drawn(batch: Batch, rng: SampleRng, config: Config) -> Tensor:
    """Return noise like the latents (B,C,h,w): normal, with an offset of channels first and pyramids then."""
    chosen = config[DdpmOptions]
    noise = rng.normal(*batch.latents.shape[1:], device=batch.latents.device)
    if chosen.noise_offset:
        noise = _with_offsets(noise, batch.latents, rng, chosen)
    if chosen.multires_noise_iterations:
        noise = _with_pyramids(noise, rng, chosen.multires_noise_iterations, chosen.multires_noise_discount)
    return noise


def perturbed(noise: Tensor, rng: SampleRng, config: Config) -> Tensor:
    """Return the noise (B,C,h,w) that the denoiser sees; what it is to predict stays without `ip_noise_gamma`.

    Ning et al. 2023, "Input Perturbation Reduces Exposure Bias in Diffusion Models", section 4.
    """
    chosen = config[DdpmOptions]
    if not chosen.ip_noise_gamma:
        return noise
    strengths = _strengths(chosen.ip_noise_gamma, noise, rng, random=chosen.ip_noise_gamma_random_strength)
    return noise + strengths[:, None, None, None] * rng.normal(*noise.shape[1:], device=noise.device)


def _with_offsets(noise: Tensor, latents: Tensor, rng: SampleRng, chosen: DdpmOptions) -> Tensor:
    assert chosen.noise_offset is not None
    strengths = _strengths(chosen.noise_offset, noise, rng, random=chosen.noise_offset_random_strength)[:, None]
    if chosen.adaptive_noise_scale:
        strengths = offsets.offset_strengths(strengths[:, 0], latents, chosen.adaptive_noise_scale)
    return offsets.add_offsets(noise, rng.normal(noise.shape[1], device=noise.device), strengths)


def _strengths(strength: float, noise: Tensor, rng: SampleRng, *, random: bool) -> Tensor:
    """Return the strength of each sample (B): the same for all, or drawn between 0 and it."""
    return sent(rng.uniform() * strength, noise.device) if random else noise.new_full((len(noise),), strength)


def _with_pyramids(noise: Tensor, rng: SampleRng, levels: int, discount: float) -> Tensor:
    """Return noise with a pyramid on each sample, of sizes that are its own: each level's ratio lies in [2, 4)."""
    _, channels, height, width = noise.shape
    sizes = [offsets.level_sizes(height, width, ratios) for ratios in (2 + 2 * rng.uniform(levels)).tolist()]
    numbers = rng.normals([channels * sum(h * w for h, w in own) for own in sizes])
    flat = torch.split(sent(torch.cat(numbers), noise.device), [len(one) for one in numbers])
    return torch.stack(
        [
            offsets.add_pyramid(sample, offsets.split_levels(part, channels, own), discount)
            for sample, part, own in zip(noise, flat, sizes, strict=True)
        ]
    )
