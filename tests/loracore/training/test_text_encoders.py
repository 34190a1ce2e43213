"""Some text encoders may train while others do not: what those say is cached, and put beside what the others say."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loracore import Batch, ConfigError, Models, TextConditioning, hookimpl
from loracore.testing import toy_models
from loracore.training.run import Run
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
    train_toy("--no_network_train_unet_only", "--text_encoder_lr", "1e-20", plugin=plugin)
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


STILL = ("--no_network_train_unet_only", "--text_encoder_lr", "0")


class Notes(SecondEncoder):
    """Keeps the lines of the header."""

    said: tuple[str, ...] = ()

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.said = tuple(run.notes)


def test_encoders_whose_adapters_never_move_are_cached_and_their_adapters_kept(train_toy: TrainToy) -> None:
    plugin = Notes()
    found = load_file(train_toy(*STILL, "--cache_text_encoder_outputs", plugin=plugin))
    assert plugin.loaded[-4:] == [
        ["te1", "te2"],
        [],
        ["te1", "te2"],
        ["unet"],
    ]  # once more for what adapters start from
    assert "textencoder 1: learning rate 0, kept as they start" in plugin.said
    ups = {name: bool(tensor.any()) for name, tensor in found.items() if "lora_up" in name}
    assert {name for name, moved in ups.items() if not moved} == {"lora_te1_projection.lora_up.weight"}
    assert len(ups) > 1


def test_still_adapters_are_those_that_a_moving_one_starts_from(train_toy: TrainToy) -> None:
    still, moving = (
        load_file(train_toy("--no_network_train_unet_only", "--text_encoder_lr", rate, "--output_name", name))
        for rate, name in (("0", "still"), ("1e-20", "moving"))
    )
    assert still.keys() == moving.keys()
    for name, tensor in still.items():
        torch.testing.assert_close(tensor, moving[name], rtol=1e-5, atol=1e-6)


def test_a_file_keeps_encoders_live_whose_adapters_never_move(train_toy: TrainToy, tmp_path: Path) -> None:
    first = train_toy("--no_network_train_unet_only", "--output_name", "first")
    plugin = Notes()
    train_toy(*STILL, "--network_weights", str(first), plugin=plugin)
    assert plugin.loaded[-1] == ["te1", "unet"]
    note = "captions are encoded once by te2, and in every step by te1, whose adapters change what they say"
    assert note in plugin.said
    with pytest.raises(ConfigError, match="te1: learning rate 0, but with what network_weights has") as caught:
        train_toy(*STILL, "--network_weights", str(first), "--cache_text_encoder_outputs", "--output_name", "no")
    assert caught.value.problems[0].where == "--cache_text_encoder_outputs"


class TwoEncoders(Notes):
    """Gives both text encoders a place in the network, the second one no learning rate."""

    @hookimpl(wrapper=True)
    def lora_targets(self) -> Generator[None, Any, Any]:
        found = yield
        return [replace(target, lr=0.0) if target.part == "te2" else target for target in found]


@pytest.mark.parametrize("network", ["lora", "dora"])
def test_one_encoder_stays_as_it_starts_beside_one_that_trains(train_toy: TrainToy, network: str) -> None:
    plugin = TwoEncoders()
    words = ("--no_network_train_unet_only", "--cache_text_encoder_outputs", "--network_module", network)
    found = load_file(train_toy(*words, plugin=plugin))
    assert plugin.loaded[-4:] == [["te2"], [], ["te2"], ["te1", "unet"]]
    assert "textencoder 2: learning rate 0, kept as they start" in plugin.said
    assert not found["lora_te2_projection.lora_up.weight"].any()
    assert all(tensor.isfinite().all() for tensor in found.values())
    if network == "dora":
        weight = toy_models.build(frozenset({"text"}), torch.device("cpu"), torch.float32, 8).text["te1"]
        layer = next(one for one in weight.modules() if isinstance(one, torch.nn.Linear))
        magnitudes = found["lora_te2_projection.dora_scale"]
        axis = 0 if magnitudes.shape[0] == 1 else 1
        torch.testing.assert_close(magnitudes, layer.weight.norm(dim=axis, keepdim=True))
