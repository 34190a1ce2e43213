from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from loracore_sdxl import encode_images, pictures, text

from loracore import Drawing, Models
from loracore.diffusion.pictures.drawing import Guidance
from loracore.diffusion.pictures.samplers import ddpm_scheduler
from tests.plugins.sdxl.runs import config_of, loaded

SMALL = Drawing((64, 48))


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SAMPLE_STEPS", 3)


@pytest.fixture
def models(folder: Path) -> Models:
    return loaded(folder)


def drawn(
    models: Models, captions: list[str], seed: int = 0, drawing: Drawing = SMALL, **options: object
) -> list[np.ndarray]:
    config = config_of(**options)
    with torch.no_grad():
        said, unsaid = text.encode(models, captions, config), text.encode(models, [""], config)
        rng = torch.Generator().manual_seed(seed)
        found = pictures.generate(models, Guidance(said, unsaid), drawing, rng, config)
    return [np.asarray(picture).astype(int) for picture in found]


def test_one_picture_of_the_asked_size_for_each_row(models: Models) -> None:
    assert [picture.shape for picture in drawn(models, ["a cat", "a dog"])] == [(48, 64, 3)] * 2


def test_pictures_depend_on_the_seed_alone(models: Models) -> None:
    first, again, other = drawn(models, ["a cat"]), drawn(models, ["a cat"]), drawn(models, ["a cat"], seed=1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_picture_is_the_one_that_the_whole_pipeline_draws(models: Models) -> None:
    pipeline = StableDiffusionXLPipeline(
        vae=models.vae,
        text_encoder=models.text["te1"],
        text_encoder_2=models.text["te2"],
        tokenizer=models.extras["te1"].tokenizer,
        tokenizer_2=models.extras["te2"].tokenizer,
        unet=models.denoiser,
        scheduler=ddpm_scheduler(pictures.SAMPLER, config_of(), pictures.SAMPLE_STEPS),
        force_zeros_for_empty_prompt=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    whole = pipeline(
        "a cat",
        negative_prompt="",
        latents=start,
        height=48,
        width=64,
        num_inference_steps=pictures.SAMPLE_STEPS,
        guidance_scale=pictures.GUIDANCE,
    ).images[0]
    assert np.abs(np.asarray(whole).astype(int) - drawn(models, ["a cat"])[0]).max() <= 1


def test_pictures_follow_what_the_model_predicts(models: Models) -> None:
    plain = drawn(models, ["a cat"])
    predicts_v = drawn(models, ["a cat"], v_parameterization=True)
    without_terminal_snr = drawn(models, ["a cat"], v_parameterization=True, zero_terminal_snr=True)
    assert not np.array_equal(plain, predicts_v)
    assert not np.array_equal(predicts_v, without_terminal_snr)


def test_vae_may_have_another_precision_than_the_unet(folder: Path) -> None:
    models = loaded(folder, dtype=torch.bfloat16, no_half_vae=True)
    assert drawn(models, ["a cat"])[0].shape == (48, 64, 3)


def test_latents_are_scaled_for_the_unet(models: Models) -> None:
    images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = encode_images(models, images)
        spread = models.vae.encode(images).latent_dist  # type: ignore[union-attr, operator]  # diffusers is untyped
    assert latents.mean.shape == (2, 4, 6, 8)
    torch.testing.assert_close(latents.mean, spread.mean * 0.13025)
    torch.testing.assert_close((latents.log_variance / 2).exp(), spread.std * 0.13025)


def test_drawing_leaves_the_console_alone(models: Models, capfd: pytest.CaptureFixture[str]) -> None:
    drawn(models, ["a cat"])
    assert capfd.readouterr() == ("", "")
