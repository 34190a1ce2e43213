from __future__ import annotations

import pytest
from loracore_networks.lora.adapter import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import nn

from loracore import Adapter, Config, LoraTarget, NetworkOptions, TrainingOptions
from loracore.networks.network import build_network
from loracore.networks.rates import is_text, learning_rate, parameter_groups, part_of, trains


def config(training: TrainingOptions | None = None, network: NetworkOptions | None = None) -> Config:
    return Config([training or TrainingOptions(learning_rate=1.0), network or NetworkOptions(), LoraOptions()], {})


def target(part: str, lr: float | None = None, *, unused: bool = False) -> LoraTarget:
    return LoraTarget(f"lora_{part}_x", (nn.Linear(2, 2),), ("x",), part, lr=lr, expected_unused=unused)


@pytest.mark.parametrize(
    ("part", "options", "expected"),
    [
        ("unet", TrainingOptions(learning_rate=1.0), 1.0),
        ("unet", TrainingOptions(learning_rate=1.0, unet_lr=0.5), 0.5),
        ("te1", TrainingOptions(learning_rate=1.0, unet_lr=0.5), 1.0),
        ("te2", TrainingOptions(text_encoder_lr=(0.1,)), 0.1),
        ("te2", TrainingOptions(text_encoder_lr=(0.1, 0.2)), 0.2),
        ("te3", TrainingOptions(text_encoder_lr=(0.1, 0.2)), 0.2),
    ],
)
def test_rates_fall_back_from_part_to_run(part: str, options: TrainingOptions, expected: float) -> None:
    assert learning_rate(target(part), config(options)) == expected


def test_a_targets_own_rate_wins() -> None:
    assert learning_rate(target("te1", lr=0.3), config(TrainingOptions(text_encoder_lr=(0.1,)))) == 0.3


def test_groups_are_named_by_part_and_leave_out_what_never_moves() -> None:
    options = config(TrainingOptions(learning_rate=1.0, text_encoder_lr=(0.1, 0.0)))
    targets = [target("te1"), target("te2"), target("unet"), target("unet", unused=True)]

    def build(one: LoraTarget, _: object) -> Adapter | None:
        return build_lora(one, None, options)

    groups = parameter_groups(build_network(targets, build), options)
    assert [(group.name, group.lr, len(group.parameters)) for group in groups] == [
        ("textencoder 1", 0.1, 2),
        ("unet", 1.0, 2),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (NetworkOptions(), {"unet", "te1"}),
        (NetworkOptions(network_train_unet_only=True), {"unet"}),
        (NetworkOptions(network_train_text_encoder_only=True), {"te1"}),
    ],
)
def test_the_run_says_which_parts_train(options: NetworkOptions, expected: set[str]) -> None:
    assert {part for part in ("unet", "te1") if trains(part, config(network=options))} == expected


def test_parts_are_read_off_keys() -> None:
    keys = ("lora_te1_text_model_x.alpha", "lora_unet_input_blocks_4_1_proj_in", "lora_x", "nonsense")
    assert [part_of(key) for key in keys] == ["te1", "unet", "", ""]


def test_text_encoders_are_numbered() -> None:
    assert [is_text(part) for part in ("te1", "te12", "temporal", "unet")] == [True, True, False, False]
