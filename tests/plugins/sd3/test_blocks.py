"""Block-wise options on joint blocks, which are of no group, with the architecture's own ranks beside them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loracore import ConfigError
from loracore.cli.request import read_request
from loracore.training.assembly.target_list import TargetRow, list_targets

MEDIUM = 24  # joint blocks of the standard sizes


def rows(*words: str) -> Sequence[TargetRow]:
    request = read_request(["--arch", "sd3", "--network_train_unet_only", *words])
    return list_targets(request.config, request.plugins)


def dims(last: int) -> str:
    return "block_dims=" + ",".join([*(["2"] * (MEDIUM - 1)), str(last)])


def test_block_dims_are_those_of_the_joint_blocks() -> None:
    found = {(row.block, row.rank) for row in rows("--network_args", dims(5))}
    assert found == {(f"joint_blocks.{number}", 5 if number == MEDIUM - 1 else 2) for number in range(MEDIUM)}


def test_ranks_of_kinds_stay_and_a_block_of_0_is_left_out() -> None:
    found = rows("--network_args", dims(0), "x_attn_dim=7", "context_mod_dim=0")
    assert {row.rank for row in found if "x_block_attn" in row.key} == {7}
    assert not [row for row in found if row.block == "joint_blocks.23" or "context_block_adaLN" in row.key]
    assert {row.rank for row in found if "mlp" in row.key} == {2}


def test_layers_outside_the_blocks_keep_ranks_of_their_own() -> None:
    found = rows("--network_args", dims(0), "emb_dims=1,2,3,4,5,6")
    assert sorted({row.rank for row in found if row.block is None}) == [1, 2, 3, 4, 5, 6]


def test_wrong_lengths_and_groups_are_said_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        rows("--network_args", "block_dims=1,2", "down_lr_weight=sine")
    assert [(problem.message, problem.fix) for problem in caught.value.problems] == [
        ("block_dims has length 2, but this model has 24 blocks", "write 24 numbers"),
        (
            "down_lr_weight: this architecture has no down blocks",
            "leave it out, or choose blocks with block_dims",
        ),
    ]
