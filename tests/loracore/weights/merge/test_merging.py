"""Base model + ratio · network, in the layout of the base model's files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore.errors import DataError, LoracoreError
from loracore.training.sampling import attach_weights
from loracore.types import Models
from loracore.weights.headers import read_header
from loracore.weights.merge.merging import merge
from tests.loracore.weights.toy_files import DENOISER, ToyFiles, toy_checkpoint, toy_modules, toy_request, write_lora

pytestmark = pytest.mark.usefixtures("toy_site")

CONV = ("--network_args", "conv_dim=2")


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return write_lora(tmp_path / "lora.safetensors", toy_request(ToyFiles(), *CONV))


def merged(
    tmp_path: Path, *files: tuple[Path, float], toy: ToyFiles | None = None, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    request = toy_request(toy or ToyFiles())
    path = tmp_path / "merged.safetensors"
    merge(request.plugins.hook, request.config, files, path, dtype)
    return load_file(path)


def expected(lora: Path, ratio: float = 1) -> dict[str, Tensor]:
    """Return the toy's checkpoint with the change that any reader of the field makes of the file."""
    modules, tensors = toy_modules(), load_file(lora)
    for key in {name.partition(".")[0] for name in tensors}:
        _, part, *path = key.split("_")
        layer = modules[part].get_submodule(".".join(path))
        down, up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
        change = up.flatten(1) @ down.flatten(1) * (tensors[f"{key}.alpha"] / len(down)) * ratio
        weight = layer.state_dict()["weight"]
        weight += change.view(weight.shape)
    return toy_checkpoint(modules)


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return set(found) == set(wanted) and all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


@pytest.mark.parametrize("ratio", [1.0, 0.5, -1.0])
def test_the_change_is_added_in_the_layout_of_the_base_model(tmp_path: Path, lora: Path, ratio: float) -> None:
    assert same(merged(tmp_path, (lora, ratio)), expected(lora, ratio))


def test_several_networks_add_up(tmp_path: Path, lora: Path) -> None:
    twice = merged(tmp_path, (lora, 0.25), (lora, 0.5))
    assert same(twice, expected(lora, 0.75))


def test_the_merged_model_does_what_the_live_adapters_do(tmp_path: Path, lora: Path) -> None:
    request = toy_request(ToyFiles())
    denoiser = toy_modules()["unet"]
    inputs = torch.randn(2, 3, 4, 4), torch.rand(2), torch.randn(2, 8)
    base = denoiser(*inputs)
    weights = {name: one for name, one in load_file(lora).items() if name.startswith("lora_unet")}
    network = attach_weights(
        request.plugins.hook, request.config, weights, torch.device("cpu"), Models(denoiser=denoiser)
    )
    live = denoiser(*inputs)
    network.detach()
    file = merged(tmp_path, (lora, 1.0))
    state = denoiser.state_dict()
    for name, place in DENOISER.items():
        state[name].copy_(place.from_file(file[place.name]))
    assert torch.allclose(denoiser(*inputs), live, atol=1e-5)
    assert not torch.allclose(base, live, atol=1e-2)


def test_only_the_rows_of_one_tensor_are_in_memory(tmp_path: Path, lora: Path) -> None:
    toy = ToyFiles()
    merged(tmp_path, (lora, 1.0), toy=toy)
    assert toy.largest == 2  # the fused one's


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_tensors_keep_the_base_models_precision(tmp_path: Path, lora: Path, dtype: torch.dtype) -> None:
    found = merged(tmp_path, (lora, 1.0), toy=ToyFiles(dtype))
    assert {one.dtype for one in found.values()} == {dtype}
    wanted = expected(lora)
    assert all(torch.allclose(one.float(), wanted[name], rtol=0.15, atol=0.1) for name, one in found.items())


def test_a_precision_may_be_asked_for(tmp_path: Path, lora: Path) -> None:
    found = merged(tmp_path, (lora, 1.0), dtype=torch.bfloat16)
    assert {one.dtype for one in found.values()} == {torch.bfloat16}
    assert torch.equal(found["text.table.weight"], toy_checkpoint(toy_modules())["text.table.weight"].bfloat16())


def test_numbers_that_a_precision_cannot_hold_are_an_error(tmp_path: Path, lora: Path) -> None:
    with pytest.raises(LoracoreError, match="too large for float16"):
        merged(tmp_path, (lora, 1e6), dtype=torch.float16)
    assert not (tmp_path / "merged.safetensors").exists()


def test_tensors_that_no_network_changes_are_checked_too(tmp_path: Path, lora: Path) -> None:
    with pytest.raises(LoracoreError, match=r"unet: enter\.bias is too large for float16"):
        merged(tmp_path, (lora, 1.0), toy=ToyFiles(bias=1e5), dtype=torch.float16)
    assert merged(tmp_path, (lora, 1.0), toy=ToyFiles(bias=1e5))["model.in.bias"].max() == 1e5


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_float8_does_not_saturate(tmp_path: Path, lora: Path, dtype: torch.dtype) -> None:
    with pytest.raises(LoracoreError, match="with these ratios is too large for float8"):
        merged(tmp_path, (lora, 1e6), toy=ToyFiles(dtype))
    assert not (tmp_path / "merged.safetensors").exists()


def test_names_of_diffusers_must_be_converted_first(tmp_path: Path) -> None:
    path = tmp_path / "peft.safetensors"
    name = "toy.blocks.0.mix.lora_{}.weight"
    save_file({name.format(factor): torch.zeros(8, 8) for factor in "AB"}, path)
    with pytest.raises(DataError, match="loracore convert --arch NAME --network_weights FILE"):
        merged(tmp_path, (path, 1.0))


def test_a_base_model_is_no_network(tmp_path: Path) -> None:
    save_file({"model.diffusion_model.enter.weight": torch.zeros(8, 8)}, tmp_path / "base.safetensors")
    with pytest.raises(DataError, match="this is a base model's checkpoint, not a LoRA"):
        merged(tmp_path, (tmp_path / "base.safetensors", 1.0))


def test_the_header_tells_of_the_model_and_not_of_the_training(tmp_path: Path, lora: Path) -> None:
    merged(tmp_path, (lora, 1.0))
    found = read_header(tmp_path / "merged.safetensors").metadata
    assert found["modelspec.title"] == "merged"
    assert found["modelspec.merged_from"] == "toy, lora.safetensors"
    assert [name for name in found if name.startswith("ss")] == []


def test_a_part_that_is_not_written_cannot_be_merged_into(tmp_path: Path, lora: Path) -> None:
    with pytest.raises(DataError, match="the file trains te1, but only unet are written"):
        merged(tmp_path, (lora, 1.0), toy=ToyFiles(parts=["unet"]))


def _changed(lora: Path, name: str, new: str, tensor: Tensor | None = None) -> Path:
    tensors = load_file(lora)
    value = tensors.pop(name)
    save_file({**tensors, new: value if tensor is None else tensor}, lora)
    return lora


def test_sums_beyond_float32_are_an_error(tmp_path: Path, lora: Path) -> None:
    alpha = "lora_unet_blocks_0_mix.alpha"
    with pytest.raises(LoracoreError, match=r"unet: blocks\.0\.mix\.weight is too large for float32"):
        merged(tmp_path, (_changed(lora, alpha, alpha, torch.tensor(1e4)), 1e38))


@pytest.mark.parametrize(
    ("new", "tensor", "message"),
    [
        ("lora_unet_blocks_0_mixx.alpha", None, "did you mean 'lora_unet_blocks_0_mix'"),
        ("lora_unet_blocks_0_mix.alpha", torch.tensor(torch.nan), "1 tensors are not finite"),
        ("lora_unet_blocks_0_mix.alpha_w1", None, "0_mix: the tensors are not those of this LoRA: unknown alpha_w1"),
    ],
)
def test_files_that_cannot_be_merged_are_said(
    tmp_path: Path, lora: Path, new: str, tensor: Tensor | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        merged(tmp_path, (_changed(lora, "lora_unet_blocks_0_mix.alpha", new, tensor), 1.0))
    assert not (tmp_path / "merged.safetensors").exists()


def test_a_layer_of_another_size_does_not_fit(tmp_path: Path, lora: Path) -> None:
    name = "lora_unet_blocks_0_mix.lora_up.weight"
    with pytest.raises(DataError, match=r"lora_up\.weight has shape"):
        merged(tmp_path, (_changed(lora, name, name, torch.zeros(9, 4)), 1.0))


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, lora: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(lora.read_bytes())
    _changed(lora, "lora_unet_blocks_0_mix.alpha", "lora_unet_nowhere.alpha")
    name = "lora_te1_projection.alpha"
    _changed(broken, name, name, torch.tensor(torch.inf))
    with pytest.raises(DataError) as caught:
        merged(tmp_path, (lora, 1.0), (broken, 1.0))
    assert len(caught.value.problems) == 2
    assert "nowhere" in str(caught.value)
    assert "not finite" in str(caught.value)
