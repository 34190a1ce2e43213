from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from loracore_sd3 import noise, text

from loracore import Batch, Models, NoisyBatch, TextConditioning
from loracore.diffusion.steps import flow_steps
from loracore.memory.checkpointing import checkpoint_blocks
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import DENOISER, config_of, loaded


@pytest.fixture(scope="module")
def models(folder: Path) -> Models:
    return loaded(folder, DENOISER)


def noisy_batch(timesteps: tuple[float, ...] = (0, 300, 1000)) -> NoisyBatch:
    rng = torch.Generator().manual_seed(0)
    rows, sizes = len(timesteps), {"clip_l": (77, 16), "clip_g": (77, 24), "t5": (9, tiny.CONTEXT)}
    sizes |= {"clip_l_pooled": (16,), "clip_g_pooled": (24,)}  # type: ignore[dict-item]  # pooled states have no tokens
    said = TextConditioning({name: torch.randn(rows, *size, generator=rng) for name, size in sizes.items()})
    latents, drawn = torch.randn(2, rows, 16, 6, 4, generator=rng)
    batch = Batch(("",) * rows, ("",) * rows, (), latents, said, torch.ones(rows))
    return flow_steps.noisy(batch, drawn, torch.tensor(timesteps))


def velocity(models: Models, batch: NoisyBatch) -> torch.Tensor:
    """What the transformer says when it is asked directly."""
    said = text.assembled(batch.batch.conditioning, tiny.CONTEXT)
    transformer = models.denoiser
    assert isinstance(transformer, SD3Transformer2DModel)
    found: torch.Tensor = transformer(
        batch.noisy_latents, said["context"], said["pooled"], batch.timesteps, return_dict=False
    )[0]
    return found


@torch.no_grad()
def test_prediction_is_the_picture_that_the_velocity_leads_to(models: Models) -> None:
    batch = noisy_batch()
    found = noise.predict(models, batch, config_of())
    sigma = torch.tensor([0, 0.3, 1]).view(-1, 1, 1, 1)
    torch.testing.assert_close(found.output, batch.noisy_latents - sigma * velocity(models, batch))
    assert torch.equal(found.target, batch.batch.latents)


@torch.no_grad()
def test_transformer_hears_the_timestep_on_its_own_scale(models: Models) -> None:
    heard = []
    hook = models.denoiser.time_text_embed.register_forward_pre_hook(lambda _, given: heard.append(given[0]))  # type: ignore[union-attr]  # it is there
    noise.predict(models, noisy_batch((257, 999)), config_of())
    hook.remove()
    assert (heard[0].dtype, heard[0].tolist()) == (torch.float32, [257, 999])


@torch.no_grad()
def test_half_precision_keeps_noise_and_timesteps_in_float32(folder: Path, models: Models) -> None:
    batch = noisy_batch((257, 999))
    half = noise.predict(loaded(folder, DENOISER, dtype=torch.bfloat16), batch, config_of())
    assert (half.output.dtype, half.target.dtype) == (torch.float32, torch.float32)
    full = noise.predict(models, batch, config_of())
    torch.testing.assert_close(half.output, full.output, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("scheme", "power"), [("uniform", 2), ("sigma_sqrt", 0)])
@torch.no_grad()
def test_loss_is_that_of_the_velocity_times_a_power_of_sigma(models: Models, scheme: str, power: int) -> None:
    batch, config = noisy_batch((100, 500, 999)), config_of(weighting_scheme=scheme)
    found = noise.predict(models, batch, config)
    loss = ((found.output - found.target) ** 2).mean((1, 2, 3)) * flow_steps.loss_factors(batch, config)
    plain = ((velocity(models, batch) - (batch.noise - batch.batch.latents)) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(loss, plain * batch.sigma**power, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("scheme", ["uniform", "sigma_sqrt", "cosmap"])
def test_loss_is_finite_where_there_is_no_noise(models: Models, scheme: str) -> None:
    config = config_of(weighting_scheme=scheme)
    batch = noisy_batch((0, 1))
    found = noise.predict(models, batch, config)
    losses = ((found.output - found.target) ** 2).mean((1, 2, 3)) * flow_steps.loss_factors(batch, config)
    assert losses.isfinite().all()


def test_random_positions_are_the_same_when_blocks_compute_again(folder: Path) -> None:
    batch = noisy_batch()
    corners = torch.tensor([[0.0, 0.9], [0.5, 0.5], [-1.0, -1.0]])
    tensors = {**batch.batch.conditioning.tensors, "position_corner": corners}
    batch = replace(batch, batch=replace(batch.batch, conditioning=TextConditioning(tensors)))
    gradients = []
    for again in (False, True):
        models = loaded(folder, DENOISER)
        if again:
            checkpoint_blocks(models.blocks["unet"])
        transformer = models.denoiser
        assert isinstance(transformer, SD3Transformer2DModel)
        weight = transformer.transformer_blocks[0].attn.to_q.weight.requires_grad_()
        torch.autograd.backward(noise.predict(models, batch, config_of()).output.square().sum())
        gradients.append(weight.grad)
    assert torch.equal(gradients[0], gradients[1])
