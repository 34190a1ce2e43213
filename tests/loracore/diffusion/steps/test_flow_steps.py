from __future__ import annotations

from typing import Any

import pytest
import torch

from loracore.config.config import Config
from loracore.config.options import TrainingOptions
from loracore.diffusion.options import FlowOptions
from loracore.diffusion.steps.flow_steps import loss_factors, noisy, timesteps
from loracore.noise.rng import SampleRng
from loracore.types import Batch, TextConditioning

ROWS = 3000


def config_of(least: int = 0, most: int = 1000, **options: Any) -> Config:
    return Config([FlowOptions(**options), TrainingOptions(min_timestep=least, max_timestep=most)], {})


def batch(rows: int) -> Batch:
    latents = torch.full((rows, 1, 2, 2), 2.0)
    nothing = TextConditioning({})
    return Batch(("",) * rows, ("",) * rows, (), latents, nothing, torch.ones(rows))


def drawn(**options: Any) -> torch.Tensor:
    return timesteps(batch(ROWS), SampleRng(0, "timesteps", 0, range(ROWS)), config_of(**options))


@pytest.mark.parametrize("scheme", ["uniform", "none", "sigma_sqrt", "cosmap"])
def test_schemes_that_weight_the_loss_spread_timesteps_evenly(scheme: str) -> None:
    found = drawn(weighting_scheme=scheme)
    assert torch.equal(found, drawn())
    quarters = torch.histc(found, 4, 0, 1000) / ROWS
    assert quarters.tolist() == pytest.approx([0.25] * 4, abs=0.03)


def test_timesteps_are_whole_and_keep_float32() -> None:
    found = drawn()
    assert (found.dtype, float(found.min())) == (torch.float32, 0)
    assert 990 < float(found.max()) < 1000
    assert torch.equal(found, found.round())


@pytest.mark.parametrize("scheme", ["uniform", "mode", "logit_normal"])
def test_timesteps_stay_within_their_bounds(scheme: str) -> None:
    found = drawn(least=200, most=800, weighting_scheme=scheme)
    assert 200 <= float(found.min()) < 260
    assert 740 < float(found.max()) <= 800


def test_normal_logits_have_the_mean_and_spread_asked_for() -> None:
    logits = torch.logit(drawn(weighting_scheme="logit_normal", logit_mean=0.5, logit_std=0.5) / 1000)
    assert float(logits.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(logits.std()) == pytest.approx(0.5, abs=0.03)


def test_mode_prefers_the_middle_the_more_the_larger_its_scale() -> None:
    spreads = [float(drawn(weighting_scheme="mode", mode_scale=scale).std()) for scale in (0.0, 0.8, 1.29)]
    assert spreads[0] == pytest.approx(289, abs=6)
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize("scheme", ["uniform", "logit_normal", "mode"])
def test_shift_moves_every_timestep_towards_noise(scheme: str) -> None:
    plain, noisier = drawn(weighting_scheme=scheme), drawn(weighting_scheme=scheme, training_shift=3.0)
    inner = (plain > 2) & (plain < 997)
    assert (noisier > plain)[inner].all()


def test_a_samples_timestep_does_not_depend_on_its_company() -> None:
    alone = timesteps(batch(1), SampleRng(0, "timesteps", 0, [7]), config_of(weighting_scheme="logit_normal"))
    assert alone.item() == drawn(weighting_scheme="logit_normal")[7].item()


def test_noise_lies_on_the_line_from_the_picture() -> None:
    found = noisy(batch(3), torch.full((3, 1, 2, 2), -1.0), torch.tensor([0.0, 300.0, 1000.0]))
    assert found.noisy_latents[:, 0, 0, 0].tolist() == pytest.approx([2.0, 1.1, -1.0])
    assert found.sigma.tolist() == pytest.approx([0, 0.3, 1])


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [("sigma_sqrt", [1e6, 4.0, 1.0]), ("cosmap", [0.63662, 1.27324, 0.63662]), ("uniform", [1] * 3), ("mode", [1] * 3)],
)
def test_loss_factors_follow_the_scheme_and_are_finite(scheme: str, expected: list[float]) -> None:
    found = noisy(batch(3), torch.zeros(3, 1, 2, 2), torch.tensor([0.0, 500.0, 1000.0]))
    assert loss_factors(found, config_of(weighting_scheme=scheme)).tolist() == pytest.approx(expected, rel=1e-4)
