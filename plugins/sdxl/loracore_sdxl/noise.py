"""Noise on latents, the U-Net's prediction, and the loss factors over noise levels."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from loracore import Batch, Config, Framing, Models, NoisyBatch, Prediction
from loracore.diffusion.options import DdpmOptions
from loracore.noise import ddpm, weighting
from loracore_sdxl.options import SdxlOptions


def noisy(batch: Batch, noise: Tensor, timesteps: Tensor, config: Config) -> NoisyBatch:
    """Return the batch with noise at integer timesteps (B) in [0, 1000)."""
    shares = _shares(timesteps, config)
    noisy_latents = ddpm.add_noise(batch.latents, noise, shares)
    return NoisyBatch(batch, noise, noisy_latents, timesteps, ddpm.noise_level(shares))


def predict(models: Models, batch: NoisyBatch, config: Config) -> Prediction:
    """Return the U-Net's output, and the noise or, with v_parameterization, the velocity that it should have said."""
    unet = models.denoiser
    if not isinstance(unet, UNet2DConditionModel):
        message = "the denoiser is not the one that load_models made"
        raise TypeError(message)
    conditioning = batch.batch.conditioning
    latents = batch.noisy_latents.to(unet.dtype)
    added = {
        "text_embeds": conditioning["pooled"].to(unet.dtype),
        "time_ids": size_ids(batch.batch.framings, config).to(latents.device),
    }
    context = conditioning["context"].to(unet.dtype)
    output = unet(latents, batch.timesteps, context, added_cond_kwargs=added, return_dict=False)[0]
    return Prediction(output.float(), _target(batch, config))


def loss_factors(batch: NoisyBatch, config: Config) -> Tensor:
    """Return the product of every loss weighting that is on (B), ones when none is."""
    chosen = config[DdpmOptions]
    snr = ddpm.signal_to_noise(_shares(batch.timesteps, config))
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


def size_ids(framings: tuple[Framing, ...], config: Config) -> Tensor:
    """Return (B,6), float32: original height, width, crop top, left, target height, width."""
    crop = contained_crop if config[SdxlOptions].size_ids == "contain" else real_crop
    rows = []
    for framing in framings:
        left, top = crop(framing)
        rows.append((*framing.original[::-1], top, left, *framing.size[::-1]))
    return torch.tensor(rows, dtype=torch.float32)


def real_crop(framing: Framing) -> tuple[int, int]:
    """Return left and top of the cut in the resized picture, as it is after flipping."""
    left, top = framing.crop
    return (framing.resized[0] - framing.size[0] - left if framing.flipped else left), top


def contained_crop(framing: Framing) -> tuple[int, int]:
    """Return left and top as sd-scripts tells them: the margins of the whole picture, fitted into the bucket."""
    width, height = framing.size
    aspect = framing.original[0] / framing.original[1]
    wider = width / height > aspect
    fitted = height * aspect if wider else width
    left, top = (width - fitted) // 2, (height - (height if wider else width / aspect)) // 2
    return int(width - (left + fitted) if framing.flipped else left), int(top)


def _shares(timesteps: Tensor, config: Config) -> Tensor:
    rescaled = config[DdpmOptions].zero_terminal_snr
    return ddpm.picture_shares(zero_terminal_snr=rescaled, device=timesteps.device)[timesteps]


def _target(batch: NoisyBatch, config: Config) -> Tensor:
    if not config[DdpmOptions].v_parameterization:
        return batch.noise
    return ddpm.velocity(batch.batch.latents, batch.noise, _shares(batch.timesteps, config))
