from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from loracore.config.config import Config
from loracore.diffusion.options import DdpmOptions
from loracore.diffusion.steps import ddpm_steps
from loracore.types import Batch, Framing, NoisyBatch, TextConditioning

FRAMING = Framing((64, 64), (64, 64), (0, 0), (64, 64))


def config_of(**options: object) -> Config:
    return Config([DdpmOptions(**options)], {})  # type: ignore[arg-type]  # tests give the right types


def batch_at(*timesteps: int, config: Config) -> NoisyBatch:
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, len(timesteps), 4, 8, 8, generator=generator)
    names = tuple(str(step) for step in timesteps)
    framings = (FRAMING,) * len(timesteps)
    batch = Batch(names, names, framings, latents, TextConditioning({}), torch.ones(len(timesteps)))
    return ddpm_steps.noisy(batch, noise, torch.tensor(timesteps), config)


@pytest.mark.parametrize("rescaled", [False, True])
def test_velocity_turns_the_noisy_latents_back(rescaled: bool) -> None:
    config = config_of(v_parameterization=True, zero_terminal_snr=rescaled)
    batch = batch_at(0, 500, 999, config=config)
    share = (1 / (1 + batch.sigma**2))[:, None, None, None]
    back = share.sqrt() * batch.noisy_latents - (1 - share).sqrt() * ddpm_steps.target(batch, config)
    # at the very end of a rescaled schedule sigma is 10^4 instead of infinite: 10^-4 of the noise
    torch.testing.assert_close(back, batch.batch.latents, rtol=1e-5, atol=5e-4 if rescaled else 1e-5)


def test_velocity_at_the_end_in_noise_alone_is_the_picture_turned_round() -> None:
    config = config_of(v_parameterization=True, zero_terminal_snr=True)
    batch = batch_at(999, config=config)
    assert torch.equal(ddpm_steps.target(batch, config), -batch.batch.latents)


def test_noise_is_the_target_of_models_that_predict_it() -> None:
    batch = batch_at(500, config=config_of())
    assert ddpm_steps.target(batch, config_of()) is batch.noise


def test_nothing_of_the_picture_is_left_at_the_last_step_without_terminal_snr() -> None:
    batch = batch_at(999, config=config_of(zero_terminal_snr=True))
    assert torch.equal(batch.noisy_latents, batch.noise)
    assert batch.sigma.isfinite().all()


def test_loss_weightings_are_multiplied(data: Path) -> None:
    golden = json.loads((data / "training.json").read_text(encoding="utf-8"))["post_process_loss_chain"]
    chains = {
        "A": config_of(min_snr_gamma=5.0, v_pred_like_loss=0.5, debiased_estimation_loss=True),
        "B": config_of(
            v_parameterization=True,
            min_snr_gamma=5.0,
            scale_v_pred_loss_like_noise_pred=True,
            debiased_estimation_loss=True,
        ),
    }
    for name, config in chains.items():
        factors = ddpm_steps.loss_factors(batch_at(*golden["timesteps"], config=config), config)
        torch.testing.assert_close(factors * 2.0, torch.tensor(golden[name]), rtol=1e-5, atol=1e-9)


def test_loss_factors_are_ones_by_default() -> None:
    factors = ddpm_steps.loss_factors(batch_at(0, 999, config=config_of()), config_of())
    assert factors.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("predicts_v", [False, True])
def test_every_loss_weighting_is_finite_without_terminal_snr(predicts_v: bool) -> None:
    chosen: dict[str, object] = {"v_parameterization": predicts_v, "zero_terminal_snr": True, "min_snr_gamma": 5.0}
    chosen |= {"debiased_estimation_loss": True, "v_pred_like_loss": None if predicts_v else 1.0}
    config = config_of(**chosen)
    assert ddpm_steps.loss_factors(batch_at(999, config=config), config).isfinite().all()
