"""The hooks that every architecture trained with DDPM noise answers alike; its module imports them as its own.

They read `DdpmOptions`, which such an architecture returns among its options. No torch here until one is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracore.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from loracore.config.config import Config
    from loracore.noise.rng import SampleRng
    from loracore.types import Batch, NoisyBatch


@hookimpl
def draw_noise(batch: Batch, rng: SampleRng, config: Config) -> Tensor:
    """Draw normal noise, with what `noise_offset` and `multires_noise_iterations` add to it."""
    from loracore.diffusion.steps import ddpm_noise

    return ddpm_noise.drawn(batch, rng, config)


@hookimpl
def noise_latents(batch: Batch, noise: Tensor, timesteps: Tensor, rng: SampleRng, config: Config) -> NoisyBatch:
    """Return the batch with DDPM noise on it, perturbed as `ip_noise_gamma` says."""
    from loracore.diffusion.steps import ddpm_noise, ddpm_steps

    seen = ddpm_noise.perturbed(noise, rng, config)
    return ddpm_steps.noisy(batch, noise, timesteps, config, seen=seen)


@hookimpl
def loss_weighting(batch: NoisyBatch, config: Config) -> Tensor:
    """Return the product of the loss weightings that are on."""
    from loracore.diffusion.steps import ddpm_steps

    return ddpm_steps.loss_factors(batch, config)
