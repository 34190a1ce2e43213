"""The hooks that every architecture trained by flow matching answers alike; its module imports them as its own.

They read `FlowOptions`, which such an architecture returns among its options. No torch here until one is called.
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
def draw_timesteps(batch: Batch, rng: SampleRng, config: Config) -> Tensor:
    """Draw timesteps as `weighting_scheme` and `training_shift` spread them."""
    from loracore.diffusion.steps import flow_steps

    return flow_steps.timesteps(batch, rng, config)


@hookimpl
def noise_latents(batch: Batch, noise: Tensor, timesteps: Tensor) -> NoisyBatch:
    """Return the batch with flow-matching noise on it."""
    from loracore.diffusion.steps import flow_steps

    return flow_steps.noisy(batch, noise, timesteps)


@hookimpl
def loss_weighting(batch: NoisyBatch, config: Config) -> Tensor:
    """Return the loss weighting of `weighting_scheme`."""
    from loracore.diffusion.steps import flow_steps

    return flow_steps.loss_factors(batch, config)
