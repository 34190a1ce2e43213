"""Files of any kind, in runs of LoRA and its relatives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from loracore_networks import dora, dylora, lora, lora_fa
from loracore_networks.dora.options import DoraOptions
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.lora.options import LoraOptions
from safetensors.torch import save_file
from torch import Tensor, nn

from loracore import Adapter, Config, DataError, LoraTarget, NetworkOptions

KINDS = (lora, lora_fa, dylora, dora)
LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


def config(network: NetworkOptions | None = None) -> Config:
    return Config([network or NetworkOptions(), LoraOptions(), DyloraOptions(), DoraOptions()], {})


def target() -> LoraTarget:
    return LoraTarget("lora_unet_x", (nn.Linear(6, 5),), ("x",), "unet")


def files() -> dict[str, dict[str, Tensor]]:
    """Return the tensors of a module of three kinds."""
    torch.manual_seed(0)
    factors = {"lora_down.weight": torch.randn(2, 6), "lora_up.weight": torch.randn(5, 2), "alpha": torch.tensor(1.0)}
    halves = {name: torch.randn((5, 2) if name.endswith("a") else (2, 6)) for name in LOHA}
    return {"lora": factors, "dora": {**factors, "dora_scale": torch.rand(1, 6)}, "loha": halves}


def change(module: ModuleType, tensors: Mapping[str, Tensor], where: LoraTarget) -> Tensor:
    adapter: Adapter = module.build_adapter(where, tensors, config())
    adapter.load_file_tensors(tensors)
    return adapter.weight_change(0, [where.layers[0].weight.detach()]).detach()


@pytest.mark.parametrize("module", KINDS)
@pytest.mark.parametrize("kind", ["lora", "dora", "loha"])
def test_a_file_means_the_same_in_every_run(module: ModuleType, kind: str) -> None:
    where, tensors = target(), files()[kind]
    up, down = tensors.get("lora_up.weight", torch.eye(5)), tensors.get("lora_down.weight", torch.zeros(5, 6))
    expected = up @ down / 2
    if kind == "dora":
        summed = where.layers[0].weight.detach() + expected
        expected = tensors["dora_scale"] * summed / summed.norm(dim=0) - where.layers[0].weight.detach()
    if kind == "loha":
        expected = (tensors[LOHA[0]] @ tensors[LOHA[1]]) * (tensors[LOHA[2]] @ tensors[LOHA[3]])
    assert torch.allclose(change(module, tensors, where), expected, atol=1e-5)


@pytest.mark.parametrize("module", KINDS)
def test_ranks_are_taken_from_files_of_the_runs_own_kind_alone(module: ModuleType, tmp_path: Path) -> None:
    own = "dora" if module is dora else "lora"
    for kind, tensors in files().items():
        save_file({f"lora_unet_x.{name}": one.contiguous() for name, one in tensors.items()}, tmp_path / kind)
        path = (tmp_path / kind).rename(tmp_path / f"{kind}.safetensors")
        options = config(NetworkOptions(network_weights=str(path), dim_from_weights=True))
        found = [finding.option for finding in module.check_options(options)]
        assert found == ([] if kind == own else ["network_weights"])


@pytest.mark.parametrize("module", KINDS)
def test_files_that_are_only_rewritten_may_be_of_any_kind(module: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "loha.safetensors"
    save_file({f"lora_unet_x.{name}": one for name, one in files()["loha"].items()}, path)
    assert module.check_options(config(NetworkOptions(network_weights=str(path)))) == []


def test_an_alpha_of_several_numbers_is_an_error() -> None:
    tensors = {**files()["lora"], "alpha": torch.ones(2)}
    with pytest.raises(DataError, match="alpha has shape"):
        lora.build_adapter(target(), tensors, config())
