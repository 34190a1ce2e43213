"""Block-wise ranks reach every kind of network, and LoRA+ those with up factors; SDXL's 23 blocks on the tiny model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from loracore import ConfigError
from loracore.cli.request import read_request
from loracore.networks.rates import parameter_groups
from loracore.training.assembly.run_network import adapters_for
from loracore.training.assembly.run_targets import run_targets
from loracore.training.assembly.target_list import TargetRow, list_targets
from tests.plugins.sdxl import tiny

#: Block 5 (input_blocks_4) has a rank of its own for convolutions, block 8 (input_blocks_7) for everything else.
DIMS = ",".join("4" if index == 8 else "2" if index == 5 else "0" for index in range(23))
CONV_DIMS = ",".join("4" if index == 5 else "0" for index in range(23))
IN_5, IN_8, CONV = "input_blocks_4_1_proj_in", "input_blocks_7_1_proj_in", "input_blocks_4_0_in_layers_2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_folder(tmp_path_factory.mktemp("folder") / "tiny")


def words_of(folder: Path, module: str, *arguments: str) -> list[str]:
    words = ["--arch", "sdxl", "--pretrained_model_name_or_path", str(folder), "--network_train_unet_only"]
    return [*words, "--network_module", module, "--network_args", *arguments]


def rows(folder: Path, module: str, *arguments: str) -> Sequence[TargetRow]:
    request = read_request(words_of(folder, module, *arguments))
    return list_targets(request.config, request.plugins)


def groups(folder: Path, module: str, *arguments: str) -> dict[str, float]:
    """Return the learning rate of each group of the optimizer."""
    request = read_request([*words_of(folder, module, *arguments), "--unet_lr", "1e-3"])
    hook, config = request.plugins.hook, request.config
    parts = frozenset({"denoiser"})
    models = hook.load_models(parts=parts, device=torch.device("meta"), dtype=torch.float32, config=config)
    network = adapters_for(hook, run_targets(hook, models, config), config, 0, None)
    return {group.name: group.lr for group in parameter_groups(network, config)}


#: A tensor of each kind whose shape tells its rank, in that dimension; of OFT the number of blocks.
RANKS = {
    "lora": ((), "lora_down.weight", 0),
    "networks.lora_fa": ((), "lora_down.weight", 0),
    "dylora": ((), "lora_down.weight", 0),
    "dora": ((), "lora_down.weight", 0),
    "oft": ((), "oft_blocks", 0),
    "loha": ((), "hada_w1_b", 0),
    "lokr": (("factor=1",), "lokr_w2_a", 1),
    "lycoris.kohya": (("algo=glora",), "b2.weight", 0),
}


@pytest.mark.parametrize("module", RANKS)
def test_ranks_of_blocks_reach_every_kind_convolutions_too(folder: Path, module: str) -> None:
    own, tensor, axis = RANKS[module]
    found = rows(folder, module, *own, f"block_dims={DIMS}", f"conv_block_dims={CONV_DIMS}")
    ranks = {row.key.removeprefix("lora_unet_"): row.tensors[tensor][axis] for row in found}
    assert {name: ranks[name] for name in (IN_5, IN_8, CONV)} == {IN_5: 2, IN_8: 4, CONV: 4}
    assert not [name for name in ranks if "middle" in name or "output" in name]


@pytest.mark.parametrize("algo", ["locon", "loha", "lokr", "diag-oft", "boft", "glora", "ia3", "full"])
def test_blocks_without_a_rank_are_left_out_by_every_algorithm(folder: Path, algo: str) -> None:
    found = rows(folder, "lycoris.kohya", f"algo={algo}", f"block_dims={DIMS}", f"conv_block_dims={CONV_DIMS}")
    assert {row.block for row in found} == {"input_blocks.4", "input_blocks.7"}


def test_alphas_of_blocks_reach_other_kinds(folder: Path) -> None:
    alphas = ",".join(str(index / 2) for index in range(23))
    found = rows(folder, "loha", f"block_dims={DIMS}", f"block_alphas={alphas}")
    assert {row.block: row.alpha for row in found} == {"input_blocks.4": 2.5, "input_blocks.7": 4.0}


def test_learning_rates_of_blocks_reach_networks_without_ranks(folder: Path) -> None:
    found = groups(folder, "lycoris.kohya", "algo=ia3", "down_lr_weight=zeros", "mid_lr_weight=0,.5,0")
    assert found["unet_block11"] == 5e-4
    assert not {f"unet_block{index}" for index in range(10)} & set(found)


@pytest.mark.parametrize("module", ["lora", "dylora", "dora"])
def test_lora_plus_moves_up_factors_faster(folder: Path, module: str) -> None:
    assert groups(folder, module, "loraplus_lr_ratio=4") == {"unet": 1e-3, "unet plus": 4e-3}


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("networks.lora_fa", ()),
        ("oft", ()),
        ("loha", ()),
        ("lokr", ()),
        *(("lycoris.kohya", (f"algo={algo}",)) for algo in ("loha", "diag-oft", "glora", "ia3", "full")),
    ],
)
def test_lora_plus_is_refused_where_nothing_is_an_up_factor(
    folder: Path, module: str, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        groups(folder, module, *arguments, "loraplus_lr_ratio=4")
    (problem,) = caught.value.problems
    assert problem.where == "--network_args"
    assert "LoRA+" in problem.message
    assert "leave it out" in problem.fix or "loraplus" in problem.fix
