"""The U-Net's prediction; noise and weights are those of every DDPM model."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from loracore import Config, Framing, Models, NoisyBatch, Prediction
from loracore.diffusion.files.precision import compute_dtype
from loracore.diffusion.steps import ddpm_steps
from loracore.noise.rng import sent
from loracore_sdxl.options import SdxlOptions


def predict(models: Models, batch: NoisyBatch, config: Config) -> Prediction:
    """Return the U-Net's output, and the noise or, with v_parameterization, the velocity that it should have said."""
    unet = models.denoiser
    if not isinstance(unet, UNet2DConditionModel):
        message = "the denoiser is not the one that load_models made"
        raise TypeError(message)
    conditioning = batch.batch.conditioning
    dtype = compute_dtype(unet)  # its own `dtype` walks through all of its modules
    latents = batch.noisy_latents.to(dtype)
    added = {
        "text_embeds": conditioning["pooled"].to(dtype),
        "time_ids": sent(size_ids(batch.batch.framings, config), latents.device),
    }
    context = conditioning["context"].to(dtype)
    output = unet(latents, batch.timesteps, context, added_cond_kwargs=added, return_dict=False)[0]
    return Prediction(output.float(), ddpm_steps.target(batch, config))


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
