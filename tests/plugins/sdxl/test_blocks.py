"""Block-wise ranks, alphas and learning rates of the full-size model are the reference's, on the meta device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from loracore import ConfigError
from loracore.cli.request import read_request
from loracore.networks.rates import parameter_groups
from loracore.training.assembly.run_network import adapters_for
from loracore.training.assembly.run_targets import run_targets
from loracore.training.assembly.target_list import TargetRow, list_targets
from tests.plugins.sdxl.runs import DENOISER, loaded

UNET = ("--arch", "sdxl", "--network_train_unet_only", "--learning_rate", "1e-4")
#: Numbers of modules by block, with everything that a network of convolutions adapts.
COUNTS = {2: 3, 3: 3, 4: 1, 5: 26, 6: 25, 7: 1, 8: 106, 9: 105, 10: 3, 11: 102, 12: 3}
COUNTS |= {13: 106, 14: 106, 15: 107, 16: 26, 17: 26, 18: 27, 19: 4, 20: 4, 21: 4}


def rows(*words: str) -> Sequence[TargetRow]:
    request = read_request([*UNET, *words])
    return list_targets(request.config, request.plugins)


def groups(*words: str) -> list[tuple[str, float, int]]:
    """Return name, learning rate and number of tensors of each group of the optimizer."""
    request = read_request([*UNET, *words])
    hook, config = request.plugins.hook, request.config
    models = hook.load_models(parts=DENOISER, device=torch.device("meta"), dtype=torch.float32, config=config)
    network = adapters_for(hook, run_targets(hook, models, config), config, 0, None)
    return [(group.name, group.lr, len(group.parameters)) for group in parameter_groups(network, config)]


@pytest.fixture
def golden(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "blocks-sdxl.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def example(golden: dict[str, Any]) -> list[str]:
    """The network arguments of the reference's example, with its rank and alpha."""
    arguments = dict(golden["example1"]["network_args"])
    dim, alpha = str(arguments.pop("dim")), str(arguments.pop("alpha"))
    items = [f"{name}={value}" for name, value in arguments.items()]
    return ["--network_dim", dim, "--network_alpha", alpha, "--network_args", *items]


def test_every_module_is_of_the_references_block(golden: dict[str, Any]) -> None:
    dims = ",".join(map(str, range(1, 24)))  # the rank tells the block
    found = rows("--network_args", f"block_dims={dims}", f"conv_block_dims={dims}")
    assert {row.key: row.rank - 1 for row in found} == golden["block_index"]
    assert {index: [row.rank - 1 for row in found].count(index) for index in COUNTS} == COUNTS


def test_the_example_has_the_references_ranks_alphas_and_rates(golden: dict[str, Any], example: list[str]) -> None:
    found = {row.key: [row.rank, row.alpha, row.lr, row.lr] for row in rows(*example)}
    assert found == golden["example1"]["modules"]


def test_the_example_has_the_references_group(golden: dict[str, Any], example: list[str]) -> None:
    assert [list(group) for group in groups(*example)] == golden["example1"]["groups"]


def test_both_doors_mean_the_same(example: list[str], tmp_path: Path) -> None:
    arguments = (item.split("=") for item in example[5:])
    lines = ["network_dim = 4", *(f"{name} = [{numbers}]" for name, numbers in arguments)]
    lines += ["down_lr_weight = [1, 1, 1, 1, 0, 0.5, 1, 1, 1]", 'up_lr_weight = "sine+.25"']
    file = tmp_path / "run.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    curves = ("down_lr_weight=1,1,1,1,,.5,1,1,1", "up_lr_weight=sine+.25")
    assert rows(str(file)) == rows(*example, *curves)


def test_a_network_leaves_nothing_behind_for_the_next_one(example: list[str]) -> None:
    before = rows()
    rows(*example)
    assert rows() == before
    assert len(before) == 722


def test_missing_conv_block_dims_leave_convolutions_to_conv_dim() -> None:
    dims = f"block_dims={','.join(['3'] * 23)}"
    assert {row.rank for row in rows("--network_args", dims)} == {3}
    with_conv = rows("--network_args", dims, "conv_dim=5", "conv_alpha=2")
    ranks = [(row.rank, row.alpha) for row in with_conv]
    large = 17 * 2 + 2 + 2  # two in each resnet, and the samplers
    assert (ranks.count((3, 1.0)), ranks.count((5, 2.0))) == (788 - large, large)


def test_a_factor_of_0_leaves_a_block_out_convolutions_too() -> None:
    found = rows("--network_args", "conv_dim=4", "mid_lr_weight=1,0,.1", "block_lr_zero_threshold=.1")
    assert {row.block for row in found if row.block and row.block.startswith("middle")} == {"middle_block.0"}


def test_rates_and_groups_follow_the_factors() -> None:
    found = groups("--unet_lr", "1e-3", "--network_args", "mid_lr_weight=1,.5,1", "loraplus_unet_lr_ratio=4")
    assert [group[:2] for group in found if "11" in group[0]] == [("unet_block11", 5e-4), ("unet_block11 plus", 2e-3)]
    assert [name for name, _, _ in found[:4]] == ["unet_block5", "unet_block5 plus", "unet_block6", "unet_block6 plus"]


def test_ranks_of_a_file_win_but_rates_still_follow_the_factors(folder: Path, tmp_path: Path) -> None:
    model = ("--pretrained_model_name_or_path", str(folder))
    dims = f"block_dims={','.join(['2'] * 23)}"
    tensors = {
        f"{row.key}.{name}": torch.ones(shape)
        for row in rows(*model, "--network_args", dims)
        for name, shape in row.tensors.items()
    }
    save_file(tensors, tmp_path / "start.safetensors")
    start = ("--network_weights", str(tmp_path / "start.safetensors"), "--dim_from_weights")
    found = rows(*model, *start, "--network_args", dims.replace("2", "5", 1), "up_lr_weight=zeros")
    assert {row.rank for row in found} == {2}
    assert {row.lr for row in found if row.block and row.block.startswith("output")} == {0.0}


def test_what_does_not_fit_the_blocks_is_said_all_at_once() -> None:
    words = ("block_dims=1,2", "conv_block_dims=1", "down_lr_weight=1,1", "mid_lr_weight=1", "up_lr_weight=1,,,,,,,,,1")
    with pytest.raises(ConfigError) as caught:
        rows("--network_args", *words)
    assert [(problem.message, problem.fix) for problem in caught.value.problems] == [
        ("block_dims has length 2, but this model has 23 blocks", "write 23 numbers"),
        ("conv_block_dims has length 1, but this model has 23 blocks", "write 23 numbers"),
        ("down_lr_weight has length 2, but this model has 9 down blocks", "write 9 numbers"),
        ("mid_lr_weight has length 1, but this model has 3 mid blocks", "write 3 numbers"),
        ("up_lr_weight has length 10, but this model has 9 up blocks", "write 9 numbers"),
    ]


def test_the_tiny_model_has_the_same_blocks(folder: Path) -> None:
    tiny, full = loaded(folder, DENOISER).block_groups, loaded(None, DENOISER, device="meta").block_groups
    assert tiny == full
    assert {group: len(names) for group, names in full.items()} == {
        "embeddings": 1,
        "down": 9,
        "mid": 3,
        "up": 9,
        "out": 1,
    }


def test_blocks_belong_to_a_loaded_denoiser(folder: Path) -> None:
    assert loaded(folder, frozenset({"text"})).block_groups == {}


def test_the_unused_layer_of_a_text_encoder_is_shown_as_not_trained() -> None:
    request = read_request(["--arch", "sdxl", "--network_train_text_encoder_only", "--text_encoder_lr", "1e-5"])
    found = list_targets(request.config, request.plugins)
    assert {row.block for row in found if row.part == "te1" and not row.lr} == {"layers.11"}
    assert {row.lr for row in found} == {0.0, 1e-5}
