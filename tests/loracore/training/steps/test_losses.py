from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from loracore.config.options import LossOptions
from loracore.noise import ddpm
from loracore.training.steps.losses import element_losses, huber_thresholds, latent_masks, sample_losses
from loracore.types import Batch, Framing, NoisyBatch, Prediction, TextConditioning

Golden = dict[str, Any]
Schedule = Literal["snr", "exponential", "constant"]

FRAMING = Framing((64, 64), (64, 64), (0, 0), (64, 64))
SQUARE = LossOptions()


@pytest.fixture
def golden(data: Path) -> Golden:
    found: Golden = json.loads((data / "training.json").read_text("utf-8"))
    return found


def counted() -> Tensor:
    """Return the losses 1 … 32 in the shape (1,2,4,4)."""
    return torch.arange(1, 33, dtype=torch.float32).view(1, 2, 4, 4)


def prediction() -> Prediction:
    return Prediction(counted().sqrt(), torch.zeros(1, 2, 4, 4))


def batch(count: int = 1, *, masks: Tensor | None = None, timesteps: Tensor | None = None) -> NoisyBatch:
    steps = torch.zeros(count, dtype=torch.int64) if timesteps is None else timesteps
    names, latents = tuple(str(number) for number in range(count)), torch.zeros(count, 1, 2, 2)
    framings = (FRAMING,) * count
    plain = Batch(names, names, framings, latents, TextConditioning({}), torch.ones(count), masks)
    sigma = ddpm.noise_level(ddpm.picture_shares()[steps.long()])
    return NoisyBatch(plain, latents, latents, steps, sigma)


def test_transparency_weighs_places_as_the_field_does(golden: Golden) -> None:
    alpha = torch.zeros(1, 1, 8, 8)
    alpha[..., 4:] = 1
    alpha[..., 0, 0] = 0.5
    masks, expected = latent_masks(alpha, 4, 4), golden["masked_loss_alpha"]
    assert torch.equal(counted() * masks, torch.tensor(expected["out"]))
    # the squares of square roots: one rounding each
    losses = sample_losses(prediction(), batch(masks=masks), SQUARE)
    assert losses.tolist() == pytest.approx(expected["per_sample"], rel=1e-6)


def test_painted_masks_weigh_places_as_the_field_does(golden: Golden) -> None:
    channel = torch.full((1, 1, 8, 8), -1.0)
    channel[..., :4, :] = 1
    channel[..., 7, 7] = 0
    masks, expected = latent_masks(channel / 2 + 0.5, 4, 4), torch.tensor(golden["masked_loss_conditioning"]["out"])
    assert torch.equal(counted() * masks, expected)
    losses = sample_losses(prediction(), batch(masks=masks), SQUARE)
    assert losses.tolist() == pytest.approx([expected.mean().item()], rel=1e-6)


def test_masks_of_the_latents_own_size_stay_as_they_are() -> None:
    masks = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(latent_masks(masks, 4, 4), masks)


def test_half_precision_is_compared_in_float32() -> None:
    output = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)  # its square is beyond float16
    assert sample_losses(Prediction(output, torch.zeros_like(output)), batch(), SQUARE).tolist() == [90000.0]


def test_each_sample_has_a_mean_of_its_own() -> None:
    output = torch.stack([torch.full((3, 2, 2), 1.0), torch.full((3, 2, 2), 2.0)])
    assert sample_losses(Prediction(output, torch.zeros_like(output)), batch(2), SQUARE).tolist() == [1.0, 4.0]


@pytest.mark.parametrize("kind", ["l2", "l1", "huber", "smooth_l1"])
def test_differences_become_the_references_losses(
    golden: Golden, kind: Literal["l2", "l1", "huber", "smooth_l1"]
) -> None:
    case = golden["conditional_loss"]
    # sample by sample, each with its own threshold
    for row, threshold in enumerate(case["huber_c"]):
        options = LossOptions(loss_type=kind, huber_schedule="constant", huber_c=threshold)
        pair = Prediction(torch.tensor(case["pred"][row])[None], torch.tensor(case["target"][row])[None])
        expected = torch.tensor(case["loss"][kind]["none"][row])[None]
        torch.testing.assert_close(element_losses(pair, batch(), options), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
def test_every_sample_has_its_own_threshold(kind: Literal["huber", "smooth_l1"]) -> None:
    options, steps = LossOptions(loss_type=kind), torch.tensor([0, 999])
    pair = Prediction(torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2))
    together = element_losses(pair, batch(2, timesteps=steps), options)
    for row in range(2):
        alone = Prediction(pair.output[row : row + 1], pair.target[row : row + 1])
        assert torch.equal(
            together[row : row + 1], element_losses(alone, batch(timesteps=steps[row : row + 1]), options)
        )
    assert together[0].mean() != together[1].mean()


def test_thresholds_follow_the_noise_as_in_the_reference(golden: Golden) -> None:
    case = golden["huber_c"]
    steps = torch.tensor(case["timesteps"])
    for key, expected in case["values"].items():
        schedule, threshold, scale = key.split("|")
        assert schedule in ("snr", "exponential", "constant")
        words = {"huber_c": float(threshold.removeprefix("c=")), "huber_scale": float(scale.removeprefix("scale="))}
        options = LossOptions(loss_type="huber", huber_schedule=schedule, **words)
        found = huber_thresholds(batch(len(steps), timesteps=steps), options)
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", ["exponential", "constant"])
def test_thresholds_follow_the_timesteps_of_flow_matching(golden: Golden, schedule: Schedule) -> None:
    case = golden["huber_c_sd3"]
    steps = torch.tensor(case["timesteps"], dtype=torch.float32)
    options = LossOptions(loss_type="huber", huber_schedule=schedule)
    found = huber_thresholds(batch(len(steps), timesteps=steps), options)
    torch.testing.assert_close(found, torch.tensor(case[schedule]), rtol=1e-5, atol=1e-6)
