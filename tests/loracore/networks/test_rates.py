from __future__ import annotations

from collections.abc import Sequence

import pytest
from loracore_networks.lora.adapter import LoraAdapter
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import nn

from loracore import Adapter, Config, ConfigError, LoraTarget, NetworkOptions, TrainingOptions
from loracore.config.options import BlockOptions
from loracore.networks.masks import Dropouts
from loracore.networks.network import Network, build_network
from loracore.networks.rates import is_text, learning_rate, parameter_groups, part_of, trains


def config(
    training: TrainingOptions | None = None,
    network: NetworkOptions | None = None,
    blocks: BlockOptions | None = None,
) -> Config:
    own = training or TrainingOptions(learning_rate=1.0)
    return Config([own, network or NetworkOptions(), blocks or BlockOptions(), LoraOptions()], {})


def target(part: str, lr: float | None = None, *, unused: bool = False, group: str | None = None) -> LoraTarget:
    return LoraTarget(f"lora_{part}_x", (nn.Linear(2, 2),), ("x",), part, lr=lr, group=group, expected_unused=unused)


def groups(options: Config, *targets: LoraTarget) -> list[tuple[str, float, int]]:
    """Return name, learning rate and number of tensors of each group."""

    def build(one: LoraTarget, _: object) -> Adapter | None:
        return build_lora(one, None, options)

    network = build_network(targets, build)
    return [(group.name, group.lr, len(group.parameters)) for group in parameter_groups(network, options)]


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
    assert groups(options, *targets) == [("textencoder 1", 0.1, 2), ("unet", 1.0, 2)]


def test_targets_may_name_their_group() -> None:
    targets = [target("unet", 0.5, group="unet_block3"), target("unet"), target("unet", 0.5, group="unet_block3")]
    assert groups(config(), *targets) == [("unet_block3", 0.5, 4), ("unet", 1.0, 2)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (BlockOptions(loraplus_lr_ratio=4), {"textencoder 1 plus": 4.0, "unet plus": 4.0}),
        (
            BlockOptions(loraplus_lr_ratio=4, loraplus_unet_lr_ratio=2),
            {"textencoder 1 plus": 4.0, "unet plus": 2.0},
        ),
        (BlockOptions(loraplus_text_encoder_lr_ratio=3), {"textencoder 1 plus": 3.0}),
        (BlockOptions(loraplus_lr_ratio=4, loraplus_unet_lr_ratio=0), {"textencoder 1 plus": 4.0}),
        (BlockOptions(loraplus_lr_ratio=4, loraplus_text_encoder_lr_ratio=0), {"unet plus": 4.0}),
        (BlockOptions(loraplus_lr_ratio=0), {}),
    ],
)
def test_lora_plus_has_a_ratio_for_each_kind_of_part(options: BlockOptions, expected: dict[str, float]) -> None:
    found = groups(config(blocks=options), target("te1"), target("unet"))
    assert {name: rate for name, rate, _ in found if name.endswith(" plus")} == expected


def test_up_factors_stand_right_behind_the_others_of_their_group() -> None:
    options = config(blocks=BlockOptions(loraplus_lr_ratio=4))
    assert groups(options, target("te1", 0.5), target("unet")) == [
        ("textencoder 1", 0.5, 1),
        ("textencoder 1 plus", 2.0, 1),
        ("unet", 1.0, 1),
        ("unet plus", 4.0, 1),
    ]


class OnlyUp(LoraAdapter):
    """A pair of factors of which the down factor stays as it starts."""

    def trained_parameters(self) -> Sequence[nn.Parameter]:
        return [self.up]


class Plain(LoraAdapter):
    """An adapter that LoRA+ knows nothing of."""

    def up_parameters(self) -> Sequence[nn.Parameter]:
        return ()


def network_of(kind: type[LoraAdapter]) -> Network:
    return build_network([target("unet")], lambda one, _: kind(one, 2, 1.0, Dropouts()))


def test_what_is_not_trained_is_in_no_group() -> None:
    network = network_of(OnlyUp)
    assert [len(group.parameters) for group in parameter_groups(network, config())] == [1]
    plus = config(blocks=BlockOptions(loraplus_lr_ratio=4))
    assert [(group.name, group.lr) for group in parameter_groups(network, plus)] == [("unet plus", 4.0)]


def test_lora_plus_needs_up_factors() -> None:
    plus = config(blocks=BlockOptions(loraplus_lr_ratio=4))
    with pytest.raises(ConfigError, match="--loraplus_lr_ratio: this network has no up factors"):
        parameter_groups(network_of(Plain), plus)


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


def test_a_models_only_text_encoder_has_no_number_in_files() -> None:
    assert part_of("lora_te_text_model_x.alpha") == "te1"


def test_text_encoders_are_numbered() -> None:
    assert [is_text(part) for part in ("te1", "te12", "temporal", "unet")] == [True, True, False, False]
