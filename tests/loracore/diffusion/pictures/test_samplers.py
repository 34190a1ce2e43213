from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from loracore import Config
from loracore.config.prompts.prompt import SAMPLERS
from loracore.diffusion.options import DdpmOptions
from loracore.diffusion.pictures.samplers import ddpm_scheduler
from loracore.noise import ddpm

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning"),
]


def config_of(**options: bool) -> Config:
    return Config([DdpmOptions(**options)], {})


def scheduler(sampler: str, steps: int = 20, **options: bool) -> Any:
    if sampler.endswith("lms"):
        pytest.importorskip("scipy", reason="the sampler lms needs scipy")
    return ddpm_scheduler(sampler, config_of(**options), steps)


def drawn(found: Any, picture: torch.Tensor, steps: int, *, predicts_v: bool, taken: int | None = None) -> torch.Tensor:
    """Return where a sampler goes with a denoiser that knows the picture, from noise; ``taken``: in its first steps."""
    found.set_timesteps(steps)
    rng = torch.Generator().manual_seed(1)
    latents: torch.Tensor = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    latents = latents * found.init_noise_sigma
    own = {"generator": rng} if "generator" in inspect.signature(found.step).parameters else {}
    for timestep in found.timesteps[:taken]:
        seen = found.scale_model_input(latents, timestep)
        share = torch.as_tensor(found.alphas_cumprod)[int(timestep)].clamp(max=1 - 1e-6)
        noise = (seen - share.sqrt() * picture) / (1 - share).sqrt()
        said = share.sqrt() * noise - (1 - share).sqrt() * picture if predicts_v else noise
        latents = found.step(said, timestep, latents, **own).prev_sample
    return latents


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_finds_the_picture_that_the_denoiser_knows(sampler: str, zero_terminal_snr: bool) -> None:
    found = scheduler(sampler, v_parameterization=zero_terminal_snr, zero_terminal_snr=zero_terminal_snr)
    picture = torch.full((1, 4, 8, 8), 2.0)
    latents = drawn(found, picture, 20, predicts_v=zero_terminal_snr)
    assert (latents - picture).abs().mean() < 0.25


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_have_the_models_noise(sampler: str) -> None:
    shares = torch.as_tensor(scheduler(sampler).alphas_cumprod)
    torch.testing.assert_close(shares, ddpm.picture_shares())
    rescaled = torch.as_tensor(scheduler(sampler, v_parameterization=True, zero_terminal_snr=True).alphas_cumprod)
    torch.testing.assert_close(rescaled, ddpm.picture_shares(zero_terminal_snr=True), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_without_terminal_snr_drawing_starts_at_the_very_last_step(sampler: str) -> None:
    found = scheduler(sampler, 4, v_parameterization=True, zero_terminal_snr=True)
    found.set_timesteps(4)
    assert round(float(found.timesteps[0])) == ddpm.STEPS - 1


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 999, 1000])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_in_as_few_and_as_many_steps_as_prompts_may_ask_for(
    sampler: str, steps: int, zero_terminal_snr: bool
) -> None:
    found = scheduler(sampler, steps, v_parameterization=zero_terminal_snr, zero_terminal_snr=zero_terminal_snr)
    latents = drawn(found, torch.ones(1, 1, 1, 1), steps, predicts_v=zero_terminal_snr, taken=3)
    assert latents.isfinite().all()
    assert 0 <= int(found.timesteps.min()) <= int(found.timesteps.max()) < ddpm.STEPS


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match="'eular' is no sampler"):
        ddpm_scheduler("eular", config_of(), 20)
