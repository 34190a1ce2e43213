"""What the U-Net hears, and what it is to say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from loracore_sd15 import encode_text, load_models, noise_latents, predict_noise
from tiny_sd15 import MakeConfig
from torch import Tensor

from loracore import Batch, Config, Framing, Models, NoisyBatch, SampleRng, TextConditioning
from loracore.diffusion.text.clip_text import encoder_layers

CAPTIONS = ("a cat", "a dog that runs through the rain")


def loaded(config: Config, *parts: str) -> Models:
    return load_models(frozenset(parts), torch.device("cpu"), torch.float32, config)


@torch.no_grad()
def said(config: Config, captions: Sequence[str] = CAPTIONS) -> Tensor:
    return encode_text(loaded(config, "text"), captions, config)["context"]


@torch.no_grad()
@pytest.mark.parametrize("skip", [None, 1, 2, 3])
def test_clip_skip_stops_at_a_layer_and_the_final_norm_follows(
    config: MakeConfig, folder: Path, skip: int | None
) -> None:
    options = config(folder, clip_skip=skip)
    models = loaded(options, "text")
    encoder, ids = models.text["te1"], models.extras["te1"].ids(CAPTIONS, 1)[:, 0]
    hidden = encoder.get_submodule("embeddings")(input_ids=ids)
    causal = torch.full((77, 77), float("-inf")).triu(1)[None, None]
    for layer in encoder_layers(encoder)[: 4 - (skip or 1)]:
        hidden = layer(hidden, attention_mask=causal)
    expected = encoder.get_submodule("final_layer_norm")(hidden)
    torch.testing.assert_close(said(options), expected, rtol=1e-5, atol=1e-5)  # another order of sums


def test_long_captions_are_encoded_in_chunks(config: MakeConfig, folder: Path) -> None:
    long = ["word " * 60]  # letter by letter: 240 tokens
    short, whole = (said(config(folder, max_token_length=length), long) for length in (75, 225))
    assert (short.shape, whole.shape) == ((1, 77, 16), (1, 227, 16))
    torch.testing.assert_close(whole[:, :76], short[:, :76], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_noise_or_velocity_is_the_target(config: MakeConfig, folder: Path) -> None:
    plain, v = config(folder), config(folder, v_parameterization=True)
    models, generator = loaded(plain, "denoiser"), torch.Generator().manual_seed(3)
    latents, noise = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    framing = Framing((64, 64), (64, 64), (0, 0), (64, 64))
    context = TextConditioning({"context": torch.randn(2, 77, 16, generator=generator)})
    batch = Batch(("a", "b"), CAPTIONS, (framing,) * 2, latents, context, torch.ones(2))
    timesteps = torch.tensor([10, 700])
    noisy: NoisyBatch = noise_latents(batch, noise, timesteps, SampleRng(0, "noise", 0, (0, 1)), plain)
    shares = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)[timesteps]
    picture, other = shares.sqrt().float().view(2, 1, 1, 1), (1 - shares).sqrt().float().view(2, 1, 1, 1)
    torch.testing.assert_close(noisy.noisy_latents, picture * latents + other * noise)
    asked = predict_noise(models, noisy, plain)
    torch.testing.assert_close(asked.target, noise)
    torch.testing.assert_close(predict_noise(models, noisy, v).target, picture * noise - other * latents)
    assert models.denoiser is not None
    expected = models.denoiser(noisy.noisy_latents, timesteps, context["context"]).sample
    torch.testing.assert_close(asked.output, expected)
