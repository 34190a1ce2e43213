"""The loss of a prediction, sample by sample."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from loracore.config.options import LossOptions
from loracore.types import NoisyBatch, Prediction

#: Timesteps from the picture to pure noise, over which the exponential schedule falls from 1 to huber_c.
TIMESTEPS = 1000


def sample_losses(prediction: Prediction, batch: NoisyBatch, options: LossOptions) -> Tensor:
    """Return the mean loss of each sample (B), float32.

    Masks (B,1,h,w in [0, 1]) weigh every place. The mean is still over all places, as the field has it: a small mask
    makes a small loss.
    """
    losses = element_losses(prediction, batch, options)
    masks = batch.batch.masks
    return (losses if masks is None else losses * masks).flatten(1).mean(dim=1)


def element_losses(prediction: Prediction, batch: NoisyBatch, options: LossOptions) -> Tensor:
    """Return the loss of every element (B,C,h,w), float32, of a difference d.

    l2: d². l1: |d|. huber: 2c(√(d²+c²) - c), like d² where d is small and like 2c|d| where it is large; smooth_l1: the
    same without the factor c. (Pseudo-Huber, Charbonnier et al. 1997; c over noise levels, Khrapov et al. 2024, arXiv
    2403.16728.) c is ``huber_thresholds``.
    """
    difference = prediction.output.float() - prediction.target.float()
    match options.loss_type:
        case "l2":
            return difference.square()
        case "l1":
            return difference.abs()
    c = huber_thresholds(batch, options)[:, None, None, None]
    rounded = 2 * ((difference.square() + c**2).sqrt() - c)
    return c * rounded if options.loss_type == "huber" else rounded


def huber_thresholds(batch: NoisyBatch, options: LossOptions) -> Tensor:
    """Return the difference (B), float32, about which huber and smooth_l1 go over from square to absolute value.

    ``huber_scale`` has no part in the schedule snr, as in the field.
    """
    smallest = options.huber_c
    match options.huber_schedule:
        case "constant":
            return batch.sigma.float().new_full(batch.sigma.shape, smallest * options.huber_scale)
        case "exponential":
            return (math.log(smallest) / TIMESTEPS * batch.timesteps.float()).exp() * options.huber_scale
        case "snr":
            return (1 - smallest) / (1 + batch.sigma.float()) ** 2 + smallest


def latent_masks(masks: Tensor, height: int, width: int) -> Tensor:
    """Return masks (B,1,H,W) at the size of the latents (B,1,h,w), areas averaged."""
    return functional.interpolate(masks.float(), size=(height, width), mode="area")
