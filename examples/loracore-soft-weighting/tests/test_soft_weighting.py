"""The extension keeps the contract, weighs as the paper says, and multiplies what the run has."""

from __future__ import annotations

import math

import pytest
import torch
from loracore_soft_weighting import SoftWeightingOptions, loss_weighting
from torch import Tensor

from loracore import Batch, Config, NoisyBatch, TextConditioning
from loracore.testing import check_extension


def weighted(timesteps: Tensor, own: float = 1.0, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Return what becomes of the run's own factors at these timesteps."""
    count = len(timesteps)
    latents, ones = torch.zeros(count, 1, 1, 1), torch.ones(count)
    batch = Batch(("",) * count, ("",) * count, (), latents, TextConditioning({}), ones)
    noisy = NoisyBatch(batch, latents, latents, timesteps, timesteps / 1000)
    asked = loss_weighting(noisy, Config([SoftWeightingOptions(mean, std)], {}))
    next(asked)
    with pytest.raises(StopIteration) as end:
        asked.send(own * ones)
    factors: Tensor = end.value.value
    return factors


def test_it_keeps_the_contract_of_extensions() -> None:
    check_extension("soft_weighting")


def test_it_keeps_it_with_options_of_its_own() -> None:
    check_extension("soft_weighting", soft_weighting_mean=0.5, soft_weighting_std=0.8)


def test_the_middle_counts_as_the_paper_says_times_what_the_run_says() -> None:
    assert weighted(torch.tensor([500.0]), own=3).item() == pytest.approx(3 * 4 / math.sqrt(2 * math.pi))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.8), (-1.0, 1.4)])
def test_the_mean_over_all_levels_is_one(mean: float, std: float) -> None:
    timesteps = (torch.arange(100_000) + 0.5) / 100
    assert weighted(timesteps, mean=mean, std=std).mean().item() == pytest.approx(1, abs=1e-3)


def test_a_higher_mean_counts_noise_more() -> None:
    picture, noise = weighted(torch.tensor([250, 750]), mean=1).tolist()
    assert noise > picture


@pytest.mark.parametrize("timestep", [0, 1000])
def test_the_ends_are_finite(timestep: int) -> None:
    assert weighted(torch.tensor([timestep]), std=3).isfinite().all()
