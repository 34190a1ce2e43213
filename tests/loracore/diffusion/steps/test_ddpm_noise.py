"""Noise of a step: its deviations are those of its parts, and no sample's depends on its neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.diffusion.options import DdpmOptions
from loracore.diffusion.steps import ddpm_hooks, ddpm_noise
from loracore.noise.rng import SampleRng
from loracore.types import Batch, Framing, TextConditioning

FRAMING = Framing((64, 64), (64, 64), (0, 0), (64, 64))
EVERYTHING: dict[str, object] = {
    "noise_offset": 0.1,
    "noise_offset_random_strength": True,
    "adaptive_noise_scale": 0.5,
    "multires_noise_iterations": 6,
    "ip_noise_gamma": 0.2,
    "ip_noise_gamma_random_strength": True,
}


def config_of(**options: object) -> Config:
    return Config([DdpmOptions(**options)], {})  # type: ignore[arg-type]  # tests give the right types


def batch_of(latents: Tensor) -> Batch:
    count = len(latents)
    names = tuple(str(number) for number in range(count))
    return Batch(names, names, (FRAMING,) * count, latents, TextConditioning({}), torch.ones(count))


def drawn(count: int = 64, latents: Tensor | None = None, **options: object) -> Tensor:
    batch = batch_of(torch.zeros(count, 4, 8, 8) if latents is None else latents)
    return ddpm_noise.drawn(batch, SampleRng(0, "noise", 0, range(len(batch.ids))), config_of(**options))


def perturbation(**options: object) -> Tensor:
    noise = drawn()
    return ddpm_noise.perturbed(noise, SampleRng(0, "perturbation", 0, range(64)), config_of(**options)) - noise


def test_two_batches_of_two_see_the_noise_of_one_batch_of_four() -> None:
    latents, config = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(3)), config_of(**EVERYTHING)

    def seen(rows: range) -> Tensor:
        noise = ddpm_noise.drawn(batch_of(latents[list(rows)]), SampleRng(1, "noise", 0, rows), config)
        return ddpm_noise.perturbed(noise, SampleRng(1, "perturbation", 0, rows), config)

    together = seen(range(4))
    assert torch.equal(together, torch.cat([seen(range(2)), seen(range(2, 4))]))


def test_without_options_noise_is_normal() -> None:
    assert torch.equal(drawn(), SampleRng(0, "noise", 0, range(64)).normal(4, 8, 8))
    assert not perturbation().any()


def test_an_offset_is_one_number_a_channel() -> None:
    added = drawn(noise_offset=0.5) - drawn()
    torch.testing.assert_close(added, added[..., :1, :1].expand_as(added), rtol=0, atol=1e-6)
    assert added[..., 0, 0].std().item() == pytest.approx(0.5, rel=0.15)  # 256 numbers: 4.4 % is one deviation


def test_a_random_strength_lies_below_the_offset_and_is_each_samples_own() -> None:
    fixed = (drawn(noise_offset=0.5) - drawn())[..., 0, 0]
    varied = (drawn(noise_offset=0.5, noise_offset_random_strength=True) - drawn())[..., 0, 0]
    assert varied.square().mean().item() == pytest.approx(0.25 / 3, rel=0.4)  # of uniform numbers in [0, 0.5)
    assert varied.std() < fixed.std()


def test_an_adaptive_offset_follows_the_channels_means() -> None:
    latents = torch.zeros(64, 4, 8, 8)
    latents[:, 0] = -2.0
    added = drawn(latents=latents, noise_offset=0.5, adaptive_noise_scale=0.25) - drawn()
    plain = drawn(noise_offset=0.5) - drawn()
    torch.testing.assert_close(added[:, 0], 2 * plain[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(added[:, 1:], plain[:, 1:])


def test_pyramids_keep_the_deviation_and_join_neighbouring_places() -> None:
    noise = drawn(multires_noise_iterations=6, multires_noise_discount=0.9)
    torch.testing.assert_close(noise.flatten(1).std(1), torch.ones(64))
    beside = (noise[..., 1:] * noise[..., :-1]).mean()
    assert beside > 0.2


def test_the_denoiser_sees_more_noise_than_it_is_to_predict() -> None:
    assert perturbation(ip_noise_gamma=0.2).std().item() == pytest.approx(0.2, rel=0.05)
    varied = perturbation(ip_noise_gamma=0.2, ip_noise_gamma_random_strength=True).flatten(1).std(1)
    assert 0 <= varied.min() < 0.05
    assert 0.15 < varied.max() < 0.25


def test_perturbed_noise_is_on_the_latents_and_not_in_the_target() -> None:
    batch, noise = batch_of(torch.zeros(2, 4, 8, 8)), drawn(2)
    timesteps, rng = torch.tensor([999, 500]), SampleRng(0, "perturbation", 0, range(2))
    noisy = ddpm_hooks.noise_latents(batch, noise, timesteps, rng, config_of(ip_noise_gamma=0.3))
    assert noisy.noise is noise
    share = 1 / (1 + noisy.sigma**2)
    seen = noisy.noisy_latents / (1 - share).sqrt()[:, None, None, None]
    assert (seen - noise).std().item() == pytest.approx(0.3, rel=0.2)
