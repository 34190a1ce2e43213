"""A step with DDPM noise under ``DdpmOptions``: noise on latents, what the denoiser should say, loss factors."""

from __future__ import annotations

import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.diffusion.options import DdpmOptions
from loracore.noise import ddpm, weighting
from loracore.types import Batch, NoisyBatch


def noisy(batch: Batch, noise: Tensor, timesteps: Tensor, config: Config, *, seen: Tensor | None = None) -> NoisyBatch:
    """Return the batch with noise at integer timesteps (B) in [0, 1000).

    ``seen`` is the noise on the latents when that is not the noise to be predicted. Sigma is all that the rest of the
    step needs of the schedule.
    """
    table = ddpm.picture_shares(zero_terminal_snr=config[DdpmOptions].zero_terminal_snr, device=timesteps.device)
    shares = table[timesteps]
    noisy_latents = ddpm.add_noise(batch.latents, noise if seen is None else seen, shares)
    return NoisyBatch(batch, noise, noisy_latents, timesteps, ddpm.noise_level(shares))


def target(batch: NoisyBatch, config: Config) -> Tensor:
    """Return what the denoiser should have said: the noise or, with v_parameterization, the velocity."""
    if not config[DdpmOptions].v_parameterization:
        return batch.noise
    return ddpm.velocity(batch.batch.latents, batch.noise, ddpm.shares_at(batch.sigma))


def loss_factors(batch: NoisyBatch, config: Config) -> Tensor:
    """Return the product of every loss weighting that is on (B), ones when none is."""
    chosen = config[DdpmOptions]
    snr = ddpm.signal_to_noise(batch.sigma)
    factors = torch.ones_like(snr)
    if chosen.min_snr_gamma:
        factors = factors * weighting.min_snr_gamma(snr, chosen.min_snr_gamma, predicts_v=chosen.v_parameterization)
    if chosen.scale_v_pred_loss_like_noise_pred:
        factors = factors * weighting.noise_like_v(snr)
    if chosen.v_pred_like_loss:
        factors = factors * weighting.v_like_noise(snr, chosen.v_pred_like_loss)
    if chosen.debiased_estimation_loss:
        factors = factors * weighting.debiased_estimation(snr, predicts_v=chosen.v_parameterization)
    return factors
