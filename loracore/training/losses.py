"""The loss of a prediction, sample by sample."""

from __future__ import annotations

from torch import Tensor

from loracore.types import Prediction


def sample_losses(prediction: Prediction) -> Tensor:
    """Return the mean squared difference of each sample (B), float32."""
    difference = prediction.output.float() - prediction.target.float()
    return difference.square().flatten(1).mean(dim=1)
