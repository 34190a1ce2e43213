from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from loracore_sd3 import encode_images, pictures, text

from loracore import DataError, Drawing, Models
from loracore.diffusion.pictures.drawing import Guidance
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import config_of, loaded


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SAMPLE_STEPS", 3)


@pytest.fixture(scope="module")
def models(folder: Path) -> Models:
    return loaded(folder)


@torch.no_grad()
def drawn(
    models: Models, captions: list[str], seed: int = 0, size: tuple[int, int] = (64, 48), **options: object
) -> list[np.ndarray]:
    config = config_of(t5xxl_max_token_length=20, **options)
    said, unsaid = text.encode(models, captions, config), text.encode(models, [""], config)
    found = pictures.generate(models, Guidance(said, unsaid), Drawing(size), torch.Generator().manual_seed(seed))
    return [np.asarray(picture).astype(int) for picture in found]


def test_sampler_takes_the_references_noise_levels(data: Path) -> None:
    golden: dict[str, Any] = json.loads((data / "training.json").read_text(encoding="utf-8"))["sd3_sample_sigmas"]
    for steps in (4, 10, 30):
        sampler = pictures.scheduler()
        sampler.set_timesteps(steps)
        expected = torch.tensor(golden[f"steps_{steps}"])
        torch.testing.assert_close(sampler.sigmas, expected, rtol=1e-5, atol=1e-6)


def test_one_picture_of_the_asked_size_for_each_row(models: Models) -> None:
    assert [picture.shape for picture in drawn(models, ["a cat", "a dog"])] == [(48, 64, 3)] * 2


def test_pictures_depend_on_the_seed_alone(models: Models) -> None:
    first, again, other = drawn(models, ["a cat"]), drawn(models, ["a cat"]), drawn(models, ["a cat"], seed=1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@torch.no_grad()
def test_picture_is_the_one_that_the_whole_pipeline_draws(models: Models) -> None:
    config = config_of(t5xxl_max_token_length=20)
    said, unsaid = (text.assembled(text.encode(models, [words], config), tiny.CONTEXT) for words in ("a cat", ""))
    nothing = dict.fromkeys(f"{kind}{end}" for kind in ("text_encoder", "tokenizer") for end in ("", "_2", "_3"))
    pipeline = StableDiffusion3Pipeline(
        vae=models.vae, transformer=models.denoiser, scheduler=pictures.scheduler(), **nothing
    )
    pipeline.set_progress_bar_config(disable=True)
    whole = pipeline(
        prompt_embeds=said["context"],
        pooled_prompt_embeds=said["pooled"],
        negative_prompt_embeds=unsaid["context"],
        negative_pooled_prompt_embeds=unsaid["pooled"],
        latents=torch.randn(1, 16, 6, 8, generator=torch.Generator().manual_seed(0)),
        height=48,
        width=64,
        num_inference_steps=pictures.SAMPLE_STEPS,
        guidance_scale=pictures.GUIDANCE,
    ).images[0]
    assert np.abs(np.asarray(whole).astype(int) - drawn(models, ["a cat"])[0]).max() <= 1


def test_pictures_have_the_files_own_positions_and_no_dropout(models: Models) -> None:
    training: dict[str, Any] = {
        "enable_scaled_pos_embed": True,
        "pos_emb_random_crop_rate": 1.0,
        "t5_dropout_rate": 1.0,
    }
    assert np.array_equal(drawn(models, ["a cat"]), drawn(models, ["a cat"], **training))


def test_model_without_t5_draws_too(tmp_path: Path) -> None:
    models = loaded(tiny.write_folder(tmp_path / "tiny", t5=False))
    assert drawn(models, ["a cat"])[0].shape == (48, 64, 3)


def test_model_in_half_precision_draws_too(folder: Path) -> None:
    assert drawn(loaded(folder, dtype=torch.bfloat16), ["a cat"])[0].shape == (48, 64, 3)


def test_live_weights_draw(folder: Path, models: Models) -> None:
    changed = loaded(folder)
    assert isinstance(changed.denoiser, SD3Transformer2DModel)
    with torch.no_grad():
        changed.denoiser.proj_out.weight.mul_(2)
    assert not np.array_equal(drawn(models, ["a cat"]), drawn(changed, ["a cat"]))


def test_size_that_the_positions_do_not_reach_is_told(models: Models) -> None:
    with pytest.raises(DataError, match="a picture of 272x64 is too large"):
        drawn(models, ["a cat"], size=(272, 64))


@torch.no_grad()
def test_latents_are_shifted_and_scaled_for_the_transformer(models: Models) -> None:
    images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = encode_images(models, images)
    assert isinstance(models.vae, AutoencoderKL)
    spread = models.vae.encode(images).latent_dist
    assert latents.mean.shape == (2, 16, 6, 8)
    torch.testing.assert_close(latents.mean, (spread.mean - 0.0609) * 1.5305)
    torch.testing.assert_close((latents.log_variance / 2).exp(), spread.std * 1.5305)


def test_drawing_leaves_the_console_alone(models: Models, capfd: pytest.CaptureFixture[str]) -> None:
    drawn(models, ["a cat"])
    assert capfd.readouterr() == ("", "")
