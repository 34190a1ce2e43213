from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from loracore.training.losses import latent_masks, sample_losses
from loracore.types import Prediction

Golden = dict[str, Any]


@pytest.fixture
def golden(data: Path) -> Golden:
    found: Golden = json.loads((data / "training.json").read_text("utf-8"))
    return found


def counted() -> torch.Tensor:
    """Return the losses 1 … 32 in the shape (1,2,4,4)."""
    return torch.arange(1, 33, dtype=torch.float32).view(1, 2, 4, 4)


def prediction() -> Prediction:
    return Prediction(counted().sqrt(), torch.zeros(1, 2, 4, 4))


def test_transparency_weighs_places_as_the_field_does(golden: Golden) -> None:
    alpha = torch.zeros(1, 1, 8, 8)
    alpha[..., 4:] = 1
    alpha[..., 0, 0] = 0.5
    masks, expected = latent_masks(alpha, 4, 4), golden["masked_loss_alpha"]
    assert torch.equal(counted() * masks, torch.tensor(expected["out"]))
    # the squares of square roots: one rounding each
    assert sample_losses(prediction(), masks).tolist() == pytest.approx(expected["per_sample"], rel=1e-6)


def test_painted_masks_weigh_places_as_the_field_does(golden: Golden) -> None:
    channel = torch.full((1, 1, 8, 8), -1.0)
    channel[..., :4, :] = 1
    channel[..., 7, 7] = 0
    masks, expected = latent_masks(channel / 2 + 0.5, 4, 4), torch.tensor(golden["masked_loss_conditioning"]["out"])
    assert torch.equal(counted() * masks, expected)
    mean = expected.mean().item()
    assert sample_losses(prediction(), masks).tolist() == pytest.approx([mean], rel=1e-6)


def test_masks_of_the_latents_own_size_stay_as_they_are() -> None:
    masks = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(latent_masks(masks, 4, 4), masks)


def test_half_precision_is_compared_in_float32() -> None:
    output = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)  # its square is beyond float16
    assert sample_losses(Prediction(output, torch.zeros_like(output))).tolist() == [90000.0]


def test_each_sample_has_a_mean_of_its_own() -> None:
    output = torch.stack([torch.full((3, 2, 2), 1.0), torch.full((3, 2, 2), 2.0)])
    assert sample_losses(Prediction(output, torch.zeros_like(output))).tolist() == [1.0, 4.0]
