"""What Acme does in a step: DDPM noise, v-prediction, min-SNR weighting."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from loracore import Batch, Models, NoisyBatch, Prediction, SampleRng, TextConditioning
from loracore.noise import ddpm, weighting


def hide_captions(batch: Batch, rng: SampleRng, share: float) -> Batch:
    """Return the batch with the words of some samples set to zero."""
    if share == 0:
        return batch
    words = batch.conditioning["words"]
    kept = (rng.uniform(1, 1) >= share).to(words)
    return replace(batch, conditioning=TextConditioning({"words": words * kept}))


def noisy(batch: Batch, noise: Tensor, timesteps: Tensor) -> NoisyBatch:
    """Return the batch at these timesteps (B, integers below 1000)."""
    shares = ddpm.picture_shares(device=timesteps.device)[timesteps]
    mixed = ddpm.add_noise(batch.latents, noise, shares)
    return NoisyBatch(batch, noise, mixed, timesteps, ddpm.noise_level(shares))


def predict(models: Models, batch: NoisyBatch) -> Prediction:
    """Return the denoiser's v and the true one."""
    assert models.denoiser is not None
    shares = ddpm.picture_shares(device=batch.timesteps.device)[batch.timesteps]
    output = models.denoiser(batch.noisy_latents, batch.sigma, batch.batch.conditioning["words"])
    return Prediction(output, ddpm.velocity(batch.batch.latents, batch.noise, shares))


def loss_factors(batch: NoisyBatch, gamma: float) -> Tensor:
    """Return min-SNR factors (B), ones without a gamma."""
    snr = batch.sigma**-2
    return weighting.min_snr_gamma(snr, gamma, predicts_v=True) if gamma else snr.new_ones(snr.shape)
