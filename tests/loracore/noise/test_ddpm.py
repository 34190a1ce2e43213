from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loracore.noise import ddpm


@pytest.fixture
def golden(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "training.json").read_text(encoding="utf-8"))
    return found


def assert_near(found: Tensor, expected: list[float]) -> None:
    """Within the tolerance that the golden file states."""
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_schedule_is_the_references(golden: dict[str, Any]) -> None:
    case = golden["sdxl_schedule"]
    steps, shares = case["timesteps"], ddpm.picture_shares()
    assert_near(ddpm.scaled_linear_betas()[steps], case["betas"])
    assert_near(shares[steps], case["alphas_cumprod"])
    assert_near(ddpm.signal_to_noise(ddpm.noise_level(shares))[steps], case["all_snr"])
    assert_near(ddpm.noise_level(shares)[steps], case["sigma_vp"])


def test_rescaled_schedule_is_the_references_with_the_ratio_that_belongs_to_it(golden: dict[str, Any]) -> None:
    case = golden["zero_terminal_snr"]
    steps, shares = case["timesteps"], ddpm.picture_shares(zero_terminal_snr=True)
    assert_near(ddpm.zero_terminal_snr_betas(ddpm.scaled_linear_betas())[steps], case["betas"])
    assert_near(shares[steps], case["alphas_cumprod"])
    assert_near(ddpm.signal_to_noise(ddpm.noise_level(shares))[steps], case["snr_recomputed"])


def test_rescaled_schedule_keeps_its_start_and_ends_in_noise_alone() -> None:
    plain, rescaled = ddpm.picture_shares(), ddpm.picture_shares(zero_terminal_snr=True)
    assert rescaled[-1] == 0
    assert rescaled[0].item() == pytest.approx(plain[0].item(), rel=1e-6)
    assert ddpm.noise_level(rescaled).isfinite().all()


def test_noised_values_and_velocities_are_the_references(golden: dict[str, Any]) -> None:
    case = golden["add_noise_and_velocity"]
    shares = ddpm.picture_shares()[case["timesteps"]]
    latents = torch.full((len(shares), 1, 1, 1), 0.5)
    noise = torch.full_like(latents, -1.25)
    assert_near(ddpm.add_noise(latents, noise, shares).flatten(), case["noisy"])
    assert_near(ddpm.velocity(latents, noise, shares).flatten(), case["velocity"])


@pytest.mark.parametrize("rescaled", [False, True])
def test_shares_are_told_by_the_noise_level(rescaled: bool) -> None:
    shares = ddpm.picture_shares(zero_terminal_snr=rescaled)
    # one unit in the last place of numbers below 1, twice
    torch.testing.assert_close(ddpm.shares_at(ddpm.noise_level(shares)), shares, rtol=0, atol=1.2e-7)
    assert (ddpm.shares_at(ddpm.noise_level(shares))[-1] == 0) == rescaled


def test_every_sample_has_its_own_noise_level() -> None:
    latents, noise = torch.zeros(2, 4, 3, 5), torch.ones(2, 4, 3, 5)
    noisy = ddpm.add_noise(latents, noise, torch.tensor([1.0, 0.0]))
    assert noisy[0].eq(0).all()
    assert noisy[1].eq(1).all()
