"""Networks merged into SDXL before training, and networks merged into one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore.cli.main import run
from loracore.cli.request import read_request
from loracore.training.assembly.phases import Loading
from tests.plugins.sdxl.runs import loaded
from tests.plugins.sdxl.test_saved_file import request_of
from tests.plugins.sdxl.test_weight_files import beside, random_lora

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers warns of its own deprecations


@pytest.fixture(scope="module")
def lora(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every module of U-Net and both text encoders, convolutions too, all factors random."""
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    save_file(random_lora(request_of(folder)), path, {"ss_base_model_version": "sdxl_base_v1-0"})
    return path


def states(checkpoint: Path, *words: str | Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return every weight of a run's parts, each loaded in its phase."""
    request = read_request(["--arch", "sdxl", "--pretrained_model_name_or_path", str(checkpoint), *map(str, words)])
    loading = Loading(request.plugins.hook, torch.device("cpu"), dtype, request.config)
    phases = [loading.models(part) for part in ("text", "denoiser")]
    modules = {name: module for models in phases for name, module in models.modules().items()}
    return {f"{part}.{name}": one for part, module in modules.items() for name, one in module.state_dict().items()}


def differing(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    return [name for name in wanted if not torch.equal(found[name], wanted[name])]


@pytest.mark.parametrize("words", [(), ("--blocks_to_swap", "1")], ids=["whole", "swapped blocks"])
def test_a_run_has_the_weights_that_merge_writes(
    checkpoint: Path, lora: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    merged = beside(checkpoint, tmp_path)
    base = ("--pretrained_model_name_or_path", str(checkpoint))
    assert (
        run(["merge", "--arch", "sdxl", *base, "--models", str(lora), "--ratios", "0.5", "--save_to", str(merged)]) == 0
    )
    found = states(checkpoint, "--base_weights", lora, "--base_weights_multiplier", "0.5", *words)
    assert differing(found, states(merged)) == []
    changed = {name.removesuffix(".weight") for name in differing(found, states(checkpoint))}
    assert len(changed) == len({name.partition(".")[0] for name in load_file(lora)})


def test_joined_networks_merge_as_both_do(checkpoint: Path, lora: Path, tmp_path: Path) -> None:
    joined, both, one = (beside(checkpoint, tmp_path / name) for name in ("joined", "both", "one"))
    words = ("--models", str(lora), str(lora), "--ratios", "0.25", "-0.75")
    assert run(["merge", *words, "--save_to", str(joined.with_name("lora.safetensors"))]) == 0
    base = ("--arch", "sdxl", "--pretrained_model_name_or_path", str(checkpoint))
    assert run(["merge", *base, *words, "--save_to", str(both)]) == 0
    assert run(["merge", *base, "--models", str(joined.with_name("lora.safetensors")), "--save_to", str(one)]) == 0
    found, wanted = loaded(one).modules(), loaded(both).modules()
    for part, module in wanted.items():
        for name, tensor in module.state_dict().items():
            assert torch.allclose(found[part].state_dict()[name], tensor, atol=1e-6), (part, name)


def loha(path: Path, checkpoint: Path) -> Path:
    """Write a LoHa for two layers of the U-Net, a linear one and a convolution."""
    torch.manual_seed(7)
    unet = loaded(checkpoint).modules()["unet"]
    layers = {
        "input_blocks_4_1_proj_in": "down_blocks.1.attentions.0.proj_in",
        "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    }
    tensors = {}
    for key, name in layers.items():
        shape = unet.state_dict()[f"{name}.weight"].shape
        for factor in ("w1", "w2"):
            tensors[f"lora_unet_{key}.hada_{factor}_a"] = torch.randn(shape[0], 2)
            tensors[f"lora_unet_{key}.hada_{factor}_b"] = torch.randn(2, shape[1:].numel())
        tensors[f"lora_unet_{key}.alpha"] = torch.tensor(1.0)
    save_file(tensors, path)
    return path


def test_other_networks_are_base_weights_too(checkpoint: Path, tmp_path: Path) -> None:
    path = loha(tmp_path / "loha.safetensors", checkpoint)
    tensors, key = load_file(path), "lora_unet_input_blocks_4_1_proj_in"
    pairs = [tensors[f"{key}.hada_{factor}_a"] @ tensors[f"{key}.hada_{factor}_b"] for factor in ("w1", "w2")]
    name, base = "unet.down_blocks.1.attentions.0.proj_in.weight", states(checkpoint)
    found = states(checkpoint, "--base_weights", path)
    assert len(differing(found, base)) == 2
    assert torch.allclose(found[name], base[name] + (pairs[0] * pairs[1] / 2).view(base[name].shape), atol=1e-5)


def test_svd_takes_other_networks_at_the_layers_of_the_full_size_model(tmp_path: Path) -> None:
    torch.manual_seed(7)
    key, path, joined = (
        "lora_unet_input_blocks_4_1_proj_in",
        tmp_path / "loha.safetensors",
        tmp_path / "joined.safetensors",
    )
    left = {f"hada_{factor}_a": torch.randn(640, 2) for factor in ("w1", "w2")}
    right = {f"hada_{factor}_b": torch.randn(2, 640) for factor in ("w1", "w2")}
    save_file({f"{key}.{name}": one for name, one in {**left, **right}.items()}, path)
    words = ("--models", str(path), "--method", "svd", "--new_rank", "4", "--save_to", str(joined))
    assert run(["merge", *words]) == 2  # whose layers?
    assert run(["merge", "--arch", "sdxl", *words]) == 0
    found, change = (
        load_file(joined),
        (left["hada_w1_a"] @ right["hada_w1_b"]) * (left["hada_w2_a"] @ right["hada_w2_b"]),
    )
    product = found[f"{key}.lora_up.weight"] @ found[f"{key}.lora_down.weight"]  # the Hadamard product has rank 4
    assert torch.allclose(product, change, atol=1e-3)
