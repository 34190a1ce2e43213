"""The loss of a prediction, sample by sample."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from loracore.types import Prediction


def sample_losses(prediction: Prediction, masks: Tensor | None = None) -> Tensor:
    """Return the mean squared difference of each sample (B), float32.

    ``masks`` (B,1,h,w in [0, 1]) weigh every place. The mean is still over all places, as the field has it: a small
    mask makes a small loss.
    """
    losses = (prediction.output.float() - prediction.target.float()).square()
    return (losses if masks is None else losses * masks).flatten(1).mean(dim=1)


def latent_masks(masks: Tensor, height: int, width: int) -> Tensor:
    """Return masks (B,1,H,W) at the size of the latents (B,1,h,w), areas averaged."""
    return functional.interpolate(masks.float(), size=(height, width), mode="area")
