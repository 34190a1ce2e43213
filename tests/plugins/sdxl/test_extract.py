"""`loracore extract` on SDXL: what a LoRA changed comes back out of the changed model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copytree

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loracore.cli.main import run
from loracore.cli.request import read_request
from loracore.training.assembly.run_network import adapters_for
from loracore.weights.headers import read_header
from tests.plugins.sdxl import tiny
from tests.plugins.sdxl.runs import loaded

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and peft warn of their own deprecations

RANKS = ("--network_dim", "3", "--network_args", "conv_dim=2")


def changes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what any reader makes of kohya's names."""
    keys = {name.partition(".")[0] for name in tensors}
    pairs = {key: (tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]) for key in keys}
    return {
        key: up.flatten(1) @ down.flatten(1) * (tensors[f"{key}.alpha"] / len(down))
        for key, (down, up) in pairs.items()
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model in both formats, a random LoRA, and both merged."""
    place = tmp_path_factory.mktemp("extract")
    base = tiny.write_folder(place / "base")
    single = tiny.write_checkpoint(place / "single.safetensors")
    words = ["--arch", "sdxl", "--pretrained_model_name_or_path", str(base), *RANKS]
    request, models = read_request(words), loaded(base)
    targets = request.plugins.hook.lora_targets(models=models, config=request.config)
    network = adapters_for(request.plugins.hook, targets, request.config, 0, None)
    torch.manual_seed(5)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, std=0.2)
    save_file(network.file_tensors(torch.float32), place / "lora.safetensors")
    copytree(single.with_suffix(""), place / "tuned")
    merge = ("--models", str(place / "lora.safetensors"), "--save_to", str(place / "tuned.safetensors"))
    assert run(["merge", *words[:4], *merge]) == 0
    return place


@pytest.fixture
def extract(place: Path, tmp_path: Path) -> Callable[..., int]:
    def call(base: str, tuned: str, *words: str) -> int:
        models = ("--pretrained_model_name_or_path", str(place / base), "--tuned_model", str(place / tuned))
        target = ("--save_to", str(tmp_path / "new.safetensors"))
        return run(["extract", "--arch", "sdxl", *models, *target, *words])

    return call


@pytest.mark.parametrize("base", ["base", "single.safetensors"])
def test_the_change_comes_back_whatever_the_formats(
    base: str, place: Path, extract: Callable[..., int], tmp_path: Path
) -> None:
    assert extract(base, "tuned.safetensors", *RANKS, "--clamp_quantile", "1") == 0
    found, wanted = (changes(load_file(path)) for path in (tmp_path / "new.safetensors", place / "lora.safetensors"))
    assert set(found) == set(wanted)
    for key, change in wanted.items():
        assert (found[key] - change).norm() <= 1e-4 * change.norm(), key


def test_shapes_and_header_are_those_of_a_saved_file(place: Path, extract: Callable[..., int], tmp_path: Path) -> None:
    assert extract("base", "tuned.safetensors", *RANKS, "--save_precision", "fp16") == 0
    found, trained = load_file(tmp_path / "new.safetensors"), load_file(place / "lora.safetensors")
    assert {name: one.shape for name, one in found.items()} == {name: one.shape for name, one in trained.items()}
    assert {one.dtype for one in found.values()} == {torch.float16}
    header = read_header(tmp_path / "new.safetensors").metadata
    assert header["ss_network_module"] == "networks.lora"
    assert (header["ss_network_dim"], header["ss_network_alpha"]) == ("3", "3.0")
    assert header["ss_base_model_version"] == "sdxl_base_v1-0"
    assert header["modelspec.title"] == "new"
    content = (tmp_path / "new.safetensors").read_bytes()
    tensors = content[8 + int.from_bytes(content[:8], "little") :]
    assert header["sshs_model_hash"] == hashlib.sha256(tensors).hexdigest()


def test_convolutions_need_a_rank_of_their_own(extract: Callable[..., int], tmp_path: Path) -> None:
    assert extract("base", "tuned.safetensors", "--network_dim", "3") == 0
    found = load_file(tmp_path / "new.safetensors")
    assert {one.dim() for one in found.values()} == {0, 2}


def test_equal_text_encoders_are_left_out(
    extract: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert extract("base", "tuned.safetensors", "--min_diff", "100") == 0
    assert "text encoders differ by at most 100 (min_diff): left out" in capfd.readouterr().err
    assert not any(name.startswith("lora_te") for name in load_file(tmp_path / "new.safetensors"))


def test_what_is_kept_is_said(extract: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert extract("base", "tuned.safetensors", "--network_dim", "1", "--network_train_unet_only") == 0
    said = capfd.readouterr().err
    assert "of the change is kept" in said
    assert "  lora_unet_" in said


def test_clamping_cuts_the_largest_values(extract: Callable[..., int], tmp_path: Path) -> None:
    name = "lora_unet_middle_block_1_proj_in.lora_up.weight"
    largest = []
    for quantile in ("1", "0.8"):
        assert extract("base", "tuned.safetensors", "--clamp_quantile", quantile, "--overwrite") == 0
        largest.append(float(load_file(tmp_path / "new.safetensors")[name].abs().max()))
    assert largest[1] < largest[0]


def test_models_that_do_not_differ_are_an_error(
    extract: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert extract("base", "single.safetensors") == 2
    assert "there is no difference between the two models" in capfd.readouterr().err
    assert not (tmp_path / "new.safetensors").exists()


def test_numbers_that_are_not_finite_are_named(
    place: Path, extract: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(place / "tuned.safetensors")
    name = "model.diffusion_model.middle_block.1.proj_in.weight"
    save_file({**tensors, name: tensors[name] * torch.nan}, place / "broken.safetensors")
    copytree(place / "single", place / "broken", dirs_exist_ok=True)
    assert extract("base", "broken.safetensors") == 2
    said = capfd.readouterr().err
    assert "tuned_model" in said
    assert "mid_block.attentions.0.proj_in.weight is not finite" in said


def test_a_model_of_another_size_is_an_error(
    place: Path, extract: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(place / "tuned.safetensors")
    name = "model.diffusion_model.middle_block.1.proj_in.weight"
    save_file({**tensors, name: tensors[name][:-8].clone()}, place / "other.safetensors")
    copytree(place / "single", place / "other", dirs_exist_ok=True)
    assert extract("base", "other.safetensors") == 2
    assert "middle_block.1.proj_in.weight" in capfd.readouterr().err


def test_the_base_model_itself_is_no_tuned_one(
    place: Path, extract: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert extract("base", "base") == 2
    assert "this is the base model itself" in capfd.readouterr().err
