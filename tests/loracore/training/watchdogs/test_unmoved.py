from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import nn
from torch.optim import SGD

from loracore import Config, Event, LoraTarget, NetworkOptions, hookimpl
from loracore.networks.network import Network, build_network
from loracore.training.watchdogs.unmoved import FIRST_LOOK, Movement, checksums
from tests.toy_runs import TrainToy

CONFIG = Config([NetworkOptions(network_dim=2), LoraOptions()], {})


@pytest.fixture
def network() -> Network:
    targets = [LoraTarget(f"lora_unet_{name}", (nn.Linear(4, 4),), (name,), "unet") for name in "abcd"]
    targets[3] = replace(targets[3], expected_unused=True)
    return build_network(targets, lambda target, weights: build_lora(target, weights, CONFIG))


def movement(network: Network) -> Movement:
    found = Movement(network, SGD(network.modules.parameters(), lr=0.1))
    found.begin(0)
    return found


def move(network: Network, *names: str, by: Callable[[nn.Parameter], Any]) -> None:
    for entry in network.entries:
        if entry.target.key.removeprefix("lora_unet_") in names:
            with torch.no_grad():
                for parameter in entry.adapter.parameters():
                    by(parameter)


def add(parameter: nn.Parameter) -> None:
    parameter.add_(1e-3)


def test_a_checksum_sees_one_changed_bit() -> None:
    before = [torch.full((1000,), 1e3), torch.ones(7, dtype=torch.bfloat16), torch.ones(1, dtype=torch.float64)]
    after = [tensor.clone() for tensor in before]
    after[0][5] = torch.nextafter(after[0][5], torch.tensor(2e3))
    assert (checksums(before) == checksums(after)).tolist() == [False, True, True]


def test_nothing_is_said_of_a_network_that_moves(network: Network) -> None:
    watch = movement(network)
    move(network, "a", "b", "c", by=add)  # d is expected to stay
    assert list(watch.notes(10, largest_rate=1e-4, all_skipped=False)) == []


def test_what_stays_is_counted_and_named(network: Network) -> None:
    watch = movement(network)
    move(network, "a", by=add)
    (note,) = watch.notes(10, largest_rate=1e-4, all_skipped=False)
    assert note.startswith("4 of 6 trained tensors have not changed at all in 10 steps (lora_unet_b, lora_unet_c)")
    assert "no gradient reaches them" in note


@pytest.mark.parametrize(
    ("rate", "skipped", "reason"),
    [
        (0.0, False, "the learning rate is 0"),
        (1e-9, False, "too small for float32"),
        (1e-4, True, "every step was skipped"),
    ],
)
def test_the_likeliest_reason_is_told(network: Network, rate: float, skipped: bool, reason: str) -> None:
    (note,) = movement(network).notes(10, largest_rate=rate, all_skipped=skipped)
    assert reason in note


def test_rates_that_half_precision_rounds_away_are_told(network: Network) -> None:
    network.modules.to(torch.bfloat16)
    watch = movement(network)
    for _ in range(10):
        move(network, "a", "b", "c", by=lambda parameter: parameter.add_(1e-5))
    (note,) = watch.notes(10, largest_rate=1e-5, all_skipped=False)  # ups start at 0 and move, downs do not
    assert "in bf16 a step smaller than 0.008 of a weight is lost" in note
    assert "drop full_bf16, or raise the learning rate (now 1e-05)" in note


def test_the_first_look_is_a_few_dozen_steps_after_the_start(network: Network) -> None:
    watch = movement(network)
    watch.begin(100)
    assert [step for step in range(400) if watch.due(step)] == [100 + FIRST_LOOK]
    assert list(watch.notes(100, largest_rate=0.0, all_skipped=False)) == []  # no step yet


class Notes:
    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []

    @hookimpl
    def happened(self, event: Event) -> None:
        if event.kind == "note" and "not changed" in event.values["text"]:
            self.found.append((event.step, event.values["text"]))


def test_a_run_that_moves_nothing_says_so_twice(train_toy: TrainToy) -> None:
    notes, steps = Notes(), FIRST_LOOK + 2
    train_toy("--learning_rate", "1e-30", "--max_train_steps", str(steps), plugin=notes)
    assert [step for step, _ in notes.found] == [FIRST_LOOK, steps]
    assert all("too small for float32" in text for _, text in notes.found)


def test_a_run_that_moves_says_nothing(train_toy: TrainToy) -> None:
    notes = Notes()
    train_toy(plugin=notes)
    assert notes.found == []
