from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch

from loracore import (
    Batch,
    Config,
    LoracoreError,
    NoisyBatch,
    Prediction,
    SampleRng,
    TextConditioning,
    TrainingOptions,
    hookimpl,
)
from loracore.defaults import answers
from tests.toy_runs import TrainToy

BATCH = Batch(("a", "b"), ("", ""), (), torch.zeros(2, 3, 4, 4), TextConditioning({}), torch.ones(2))


def rng() -> SampleRng:
    return SampleRng(0, "test", 0, range(2))


def test_draw_noise_is_like_the_latents() -> None:
    assert answers.draw_noise(BATCH, rng()).shape == BATCH.latents.shape


def test_draw_timesteps_stays_between_the_bounds() -> None:
    config = Config([TrainingOptions(min_timestep=5, max_timestep=7)], {})
    drawn = [answers.draw_timesteps(BATCH, SampleRng(0, "t", 0, (n, n + 1)), config) for n in range(0, 60, 2)]
    assert set(torch.cat(drawn).tolist()) == {5, 6}


def test_prepare_batch_leaves_the_batch_alone() -> None:
    assert answers.prepare_batch(BATCH) is BATCH


def test_loss_weighting_weighs_samples_alike() -> None:
    noisy = NoisyBatch(BATCH, BATCH.latents, BATCH.latents, torch.tensor([1, 2]), torch.zeros(2))
    assert answers.loss_weighting(Prediction(BATCH.latents, BATCH.latents), noisy).tolist() == [1, 1]


def test_file_metadata_and_demo_offer_nothing() -> None:
    assert answers.file_metadata() == {}
    assert answers.demo() is None


def test_generate_images_says_that_the_architecture_draws_none() -> None:
    with pytest.raises(LoracoreError, match="cannot draw pictures"):
        answers.generate_images()


def test_check_models_is_asked_before_anything_is_loaded(train_toy: TrainToy) -> None:
    loaded = []

    class Refusal:
        @hookimpl
        def check_models(self, parts: frozenset[str]) -> None:
            message = f"no {', '.join(sorted(parts))}"
            raise LoracoreError(message)

        @hookimpl(wrapper=True)
        def load_models(self) -> Generator[None, Any, Any]:
            loaded.append(1)
            return (yield)

    with pytest.raises(LoracoreError, match="no denoiser, text, vae"):
        train_toy(plugin=Refusal())
    assert not loaded
