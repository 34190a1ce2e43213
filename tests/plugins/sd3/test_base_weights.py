"""Networks merged into SD3 before training: fused layers, swapped halves, and modules that the run leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loracore.cli.main import run
from loracore.cli.request import read_request
from loracore.training.assembly.phases import Loading
from tests.plugins.sd3.runs import DENOISER, loaded

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers warns of its own deprecations

ONE_BLOCK = ("--network_args", "train_block_indices=0", "x_attn_dim=0")
SPLIT = ("--network_args", "split_qkv=true")


@pytest.fixture
def whole(data: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Give a function that writes a golden base model in float32; its file holds float8 to be small."""

    def written(kind: str) -> Path:
        path = tmp_path / f"{kind}.safetensors"
        save_file({name: one.float() for name, one in load_file(data / f"tiny-{kind}-mmdit.safetensors").items()}, path)
        return path

    return written


@pytest.mark.parametrize("kind", ["sd3", "sd35"])
@pytest.mark.parametrize("words", [(), ONE_BLOCK, SPLIT], ids=["all blocks", "one block", "split_qkv"])
def test_a_run_has_the_weights_that_merge_writes(
    kind: str,
    words: tuple[str, ...],
    data: Path,
    whole: Callable[[str], Path],
    separate: dict[str, str],
    tmp_path: Path,
) -> None:
    base, lora, merged = whole(kind), data / f"tiny-{kind}-lora.safetensors", tmp_path / "merged.safetensors"
    model = ("--arch", "sd3", "--pretrained_model_name_or_path", str(base), "--vae", separate["vae"])
    assert run(["merge", *model, "--models", str(lora), "--save_to", str(merged)]) == 0
    request = read_request([*model, "--base_weights", str(lora), *words])
    found = Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config).models("denoiser")
    wanted, plain = loaded(merged, DENOISER).denoiser, loaded(base, DENOISER).denoiser
    assert found.denoiser is not None
    assert wanted is not None
    assert plain is not None
    states = [module.state_dict() for module in (found.denoiser, wanted, plain)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    changed = sum(not torch.equal(states[0][name], states[2][name]) for name in states[2])
    assert changed == {"sd3": 33, "sd35": 37}[kind]  # 25 and 27 modules, of which 4 and 5 are q, k and v


@pytest.mark.parametrize("words", [(), ("--method", "svd", "--new_rank", "64")], ids=["concat", "svd"])
def test_joined_files_change_fused_layers_as_each_does(data: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    lora, joined = data / "tiny-sd3-lora.safetensors", tmp_path / "joined.safetensors"
    model = ("--models", str(lora), str(lora), "--ratios", "0.25", "0.5", "--save_precision", "float")
    assert run(["merge", *model, *words, "--save_to", str(joined)]) == 0
    found, wanted = load_file(joined), load_file(lora)
    for key in {name.partition(".")[0] for name in wanted}:
        changes = [
            file[f"{key}.lora_up.weight"].flatten(1).float()
            @ file[f"{key}.lora_down.weight"].flatten(1).float()
            * (file[f"{key}.alpha"].float() / len(file[f"{key}.lora_down.weight"]))
            for file in (found, wanted)
        ]
        assert torch.allclose(changes[0], changes[1] * 0.75, atol=1e-6), key
