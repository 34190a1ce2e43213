from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from torch import nn

from loracore import Config, ConfigError, LoraTarget, Models, NetworkOptions, TrainingOptions
from loracore.config.options import BlockOptions
from loracore.networks.blocks import block_targets

GROUPS = {"first": ["a"], "down": ["b", "c"]}


def target(block: str | None, layer: nn.Linear | nn.Conv2d | None = None) -> LoraTarget:
    return LoraTarget(f"lora_unet_{block}", (layer or nn.Linear(2, 2),), (f"{block}.x",), "unet", block)


LINEARS = (target("a"), target("b"), target("c"))


def adjusted(
    options: BlockOptions,
    targets: Sequence[LoraTarget] = LINEARS,
    groups: Mapping[str, Sequence[str]] = GROUPS,
) -> list[LoraTarget]:
    config = Config([options, NetworkOptions(), TrainingOptions(learning_rate=2.0)], {})
    models = Models(denoiser=nn.Identity(), block_groups=groups)
    return list(block_targets(targets, models, config))


def test_without_block_wise_options_targets_stay_as_they_are() -> None:
    assert adjusted(BlockOptions(block_alphas=(1.0,))) == list(LINEARS)


def test_numbers_are_given_in_the_order_of_the_groups() -> None:
    found = adjusted(BlockOptions(block_dims=(1, 0, 3), block_alphas=(0.5, 1.0, 0.0)))
    assert [(each.rank, each.alpha) for each in found] == [(1, 0.5), (0, 1.0), (3, 0.0)]
    assert {(each.lr, each.group) for each in found} == {(None, None)}


def test_without_groups_the_blocks_are_those_of_the_denoisers_targets() -> None:
    text = replace(target("z"), part="te1")
    found = adjusted(BlockOptions(block_dims=(1, 2)), [text, target("y"), target(None), target("x"), target("y")], {})
    assert [each.rank for each in found] == [None, 1, None, 2, 1]


def test_factors_make_rates_and_groups_and_leave_blocks_out() -> None:
    found = adjusted(BlockOptions(down_lr_weight="0.25,0.5", block_lr_zero_threshold=0.25))
    assert [(each.rank, each.lr, each.group) for each in found] == [
        (None, 2.0, "unet_block0"),
        (0, 0.0, "unet_block1"),
        (None, 1.0, "unet_block2"),
    ]


def test_larger_convolutions_have_numbers_of_their_own() -> None:
    convs = [target("b", nn.Conv2d(2, 2, 3)), target("b", nn.Conv2d(2, 2, 1))]
    options = BlockOptions(block_dims=(1, 2, 3), conv_block_dims=(4, 5, 6), conv_block_alphas=(7.0, 8.0, 9.0))
    assert [(each.rank, each.alpha) for each in adjusted(options, convs)] == [(5, 8.0), (2, None)]


def test_conv_block_dims_turn_on_what_stands_among_convolutions() -> None:
    among = [replace(target("b"), needs_conv=True)]
    assert adjusted(BlockOptions(block_dims=(1, 2, 3)), among)[0].needs_conv
    turned_on = adjusted(BlockOptions(conv_block_dims=(1, 0, 3)), among)[0]
    assert (turned_on.needs_conv, turned_on.rank) == (False, None)


def test_ranks_that_the_architecture_chose_stay_unless_the_block_is_left_out() -> None:
    chosen = [replace(each, rank=7, lr=0.5) for each in LINEARS]
    found = adjusted(BlockOptions(block_dims=(1, 0, 3), down_lr_weight="1,2"), chosen)
    assert [(each.rank, each.lr) for each in found] == [(7, 0.5), (0, 0.5), (7, 1.0)]


def test_a_model_without_blocks_has_no_place_for_their_numbers() -> None:
    with pytest.raises(ConfigError, match=r"has length 2, but this model has 0 blocks \(leave block_dims out\)"):
        adjusted(BlockOptions(block_dims=(1, 2)), [target(None)], {})


def test_factors_need_their_group() -> None:
    with pytest.raises(ConfigError, match="up_lr_weight: this architecture has no up blocks"):
        adjusted(BlockOptions(up_lr_weight="sine"))


def test_factors_that_cannot_be_read_name_their_option() -> None:
    with pytest.raises(ConfigError, match="--down_lr_weight: down_lr_weight: 'x' is no number"):
        adjusted(BlockOptions(down_lr_weight="1,x"))
