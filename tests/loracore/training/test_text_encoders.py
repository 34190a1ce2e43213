"""Some text encoders may train while others do not: what those say is cached, and put beside what the others say."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loracore import Batch, ConfigError, Models, TextConditioning, hookimpl
from loracore.testing import toy_models
from tests.toy_runs import TrainToy


class SecondEncoder:
    """Gives the toy a second text encoder that no network has a place in."""

    def __init__(self) -> None:
        self.loaded: list[list[str]] = []
        self.seen: list[dict[str, torch.Tensor]] = []

    @hookimpl(wrapper=True)
    def load_models(
        self, parts: frozenset[str], device: torch.device, dtype: torch.dtype
    ) -> Generator[None, Any, Models]:
        loaded: Models = yield
        toy = toy_models.build(frozenset({"text"}), device, dtype, 8).text["te1"]
        text = {name: toy for name in ("te1", "te2") if {"text", name} & parts}
        self.loaded.append([*text, *(["unet"] if loaded.denoiser else [])])
        return replace(loaded, text=text)

    @hookimpl(wrapper=True)
    def lora_targets(self) -> Generator[None, Any, Any]:
        found = yield
        return [target for target in found if target.part != "te2"]

    @hookimpl(tryfirst=True)
    def encode_text(self, models: Models, captions: Sequence[str]) -> TextConditioning:
        return TextConditioning({name: encoder(captions) for name, encoder in models.text.items()})

    @hookimpl(wrapper=True)
    def prepare_batch(self, batch: Batch) -> Generator[None, Any, Any]:
        self.seen.append(dict(batch.conditioning.tensors))
        yield
        both = batch.conditioning["te1"] + batch.conditioning["te2"]
        return replace(batch, conditioning=TextConditioning({"pooled": both}))


def test_an_encoder_without_targets_is_cached_while_the_other_trains(train_toy: TrainToy) -> None:
    plugin = SecondEncoder()
    train_toy("--no_network_train_unet_only", plugin=plugin)
    rehearsal, text_phase, _, steps = plugin.loaded
    assert (rehearsal, text_phase, steps) == (["te1", "te2", "unet"], ["te2"], ["te1", "unet"])
    assert plugin.seen
    assert all(seen["te1"].requires_grad and not seen["te2"].requires_grad for seen in plugin.seen)


def test_the_cached_encoder_says_in_every_step_what_it_would_say_live(train_toy: TrainToy) -> None:
    plugin = SecondEncoder()
    train_toy("--no_network_train_unet_only", "--text_encoder_lr", "0", plugin=plugin)
    assert all(torch.allclose(seen["te1"], seen["te2"]) for seen in plugin.seen)


def test_all_encoders_are_cached_when_none_trains(train_toy: TrainToy) -> None:
    plugin = SecondEncoder()
    train_toy(plugin=plugin)
    assert plugin.loaded[-3:] == [["te1", "te2"], [], ["unet"]]


class ElsewhereEncoder(SecondEncoder):
    """Puts the text encoder that is adapted on a device of its own."""

    @hookimpl(wrapper=True)
    def load_models(
        self, parts: frozenset[str], device: torch.device, dtype: torch.dtype
    ) -> Generator[None, Any, Models]:
        loaded: Models = yield
        toy = toy_models.build(frozenset({"text"}), device, dtype, 8).text["te1"]
        return replace(loaded, text={"te1": toy} if "text" in parts else {}, placed=frozenset({"te1"}))


def test_adapters_of_a_part_on_a_device_of_its_own_are_refused(train_toy: TrainToy) -> None:
    with pytest.raises(ConfigError, match="te1, which an option puts on a device of its own"):
        train_toy("--no_network_train_unet_only", plugin=ElsewhereEncoder())


def test_encoders_are_cached_when_a_file_has_nothing_for_them(train_toy: TrainToy, tmp_path: Path) -> None:
    first = train_toy("--output_name", "first")
    plugin = SecondEncoder()
    words = ("--no_network_train_unet_only", "--network_weights", str(first), "--dim_from_weights")
    train_toy(*words, plugin=plugin)
    assert plugin.loaded[-3:] == [["te1", "te2"], [], ["unet"]]
