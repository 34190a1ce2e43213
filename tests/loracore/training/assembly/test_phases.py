from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch

from loracore import Config, DataError, Latents, LoraTarget, ModelOptions, NoisyBatch, hookimpl
from loracore.training.assembly.phases import free_memory
from tests.toy_runs import TrainToy


class Counter:
    """Counts what the run asks its plugins for."""

    def __init__(self) -> None:
        self.captions: list[str] = []
        self.pictures = 0
        self.targets: set[str] = set()
        self.sigmas: list[float] = []

    @hookimpl(wrapper=True)
    def encode_text(self, captions: list[str]) -> Generator[None, Any, Any]:
        self.captions += captions
        return (yield)

    @hookimpl(wrapper=True)
    def encode_images(self, images: torch.Tensor) -> Generator[None, Any, Any]:
        self.pictures += len(images)
        return (yield)

    @hookimpl(wrapper=True)
    def build_adapter(self, target: LoraTarget) -> Generator[None, Any, Any]:
        self.targets.add(target.key)
        return (yield)

    @hookimpl(wrapper=True)
    def noise_latents(self) -> Generator[None, NoisyBatch, NoisyBatch]:
        noisy = yield
        self.sigmas += noisy.sigma.tolist()
        return noisy


def test_every_caption_and_picture_is_encoded_once(train_toy: TrainToy) -> None:
    counter = Counter()
    train_toy("--max_train_epochs", "3", "--vae_batch_size", "2", plugin=counter)
    assert sorted(counter.captions) == [f"picture number {number}" for number in range(6)]
    assert counter.pictures == 6


def test_captions_are_encoded_in_every_step_while_text_encoders_train(train_toy: TrainToy) -> None:
    counter = Counter()
    train_toy("--max_train_epochs", "3", "--no_network_train_unet_only", plugin=counter)
    assert len(counter.captions) == 18


@pytest.mark.parametrize(("highvram", "emptied"), [(False, 1), (True, 0)])
def test_highvram_keeps_what_torch_has_of_the_card(
    monkeypatch: pytest.MonkeyPatch, *, highvram: bool, emptied: int
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(True))
    free_memory(Config([ModelOptions(highvram=highvram)], {}))
    assert len(calls) == emptied


def test_every_target_is_offered_to_the_network(train_toy: TrainToy) -> None:
    counter = Counter()
    train_toy(plugin=counter)
    assert counter.targets == {f"lora_unet_blocks_{n}_{layer}" for n in (0, 1) for layer in ("conv", "mix")}


def test_timesteps_stay_in_the_asked_range(train_toy: TrainToy) -> None:
    counter = Counter()
    train_toy("--min_timestep", "100", "--max_timestep", "200", "--max_train_steps", "20", plugin=counter)
    assert 0.1 <= min(counter.sigmas) <= max(counter.sigmas) < 0.2


def test_pictures_whose_latents_are_not_finite_are_named(train_toy: TrainToy) -> None:
    class Overflow:
        @hookimpl(wrapper=True)
        def encode_images(self) -> Generator[None, Latents, Latents]:
            latents = yield
            return Latents(latents.mean * float("inf"), latents.log_variance)

    with pytest.raises(DataError, match="may be damaged"):
        train_toy(plugin=Overflow())
    with pytest.raises(DataError, match="no_half_vae") as caught:
        train_toy("--mixed_precision", "bf16", plugin=Overflow())
    assert [problem.where[-5:] for problem in caught.value.problems] == [f"{n}.png" for n in range(6)]
