"""A step of flow matching under ``FlowOptions``: timesteps, noise on latents, loss factors."""

from __future__ import annotations

import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.config.options import TrainingOptions
from loracore.diffusion.options import FlowOptions
from loracore.noise import flow
from loracore.noise.rng import SampleRng, sent
from loracore.types import Batch, NoisyBatch


def timesteps(batch: Batch, rng: SampleRng, config: Config) -> Tensor:
    """Return whole timesteps (B), float32, in [min_timestep, max_timestep], as the scheme and the shift spread them."""
    own, training = config[FlowOptions], config[TrainingOptions]
    if own.weighting_scheme == "logit_normal":
        levels = flow.logit_normal_levels(rng.normal(), own.logit_mean, own.logit_std)
    else:
        levels = rng.uniform()
        levels = flow.mode_levels(levels, own.mode_scale) if own.weighting_scheme == "mode" else levels
    shifted = flow.shifted_levels(levels, own.training_shift)
    found = flow.level_timesteps(shifted, training.min_timestep, training.max_timestep)
    return sent(found, batch.latents.device)


def noisy(batch: Batch, noise: Tensor, timesteps: Tensor) -> NoisyBatch:
    """Return the batch with noise at timesteps (B) in [0, 1000]."""
    sigma = flow.noise_share(timesteps)
    return NoisyBatch(batch, noise, flow.add_noise(batch.latents, noise, sigma), timesteps, sigma)


def loss_factors(batch: NoisyBatch, config: Config) -> Tensor:
    """Return the loss weights (B) of ``weighting_scheme`` for an error measured on the picture."""
    match config[FlowOptions].weighting_scheme:
        case "sigma_sqrt":
            return flow.plain_velocity_weight(batch.sigma)
        case "cosmap":
            return flow.cosine_map_weight(batch.sigma)
        case _:
            return torch.ones_like(batch.sigma)
