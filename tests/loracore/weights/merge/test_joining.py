"""Several networks as one LoRA file: the sum of their changes, whole or of a lower rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore import LoracoreError
from loracore.cli.request import Request, read_request
from loracore.errors import DataError
from loracore.training.metadata import file_hashes
from loracore.weights.headers import read_header
from loracore.weights.merge.joining import Joined, Method, join
from tests.loracore.weights.toy_files import ToyFiles, toy_request, write_lora

pytestmark = pytest.mark.usefixtures("toy_site")

MIX, CONV, TEXT = "lora_unet_blocks_0_mix", "lora_unet_blocks_1_conv", "lora_te1_projection"
SVD = Method("svd", rank=2, conv_rank=3)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write_lora(tmp_path / "first.safetensors", toy_request(ToyFiles(), "--network_args", "conv_dim=2"))


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another rank and scale, and no convolutions."""
    words = ("--network_dim", "3", "--network_alpha", "6")
    return write_lora(tmp_path / "second.safetensors", toy_request(ToyFiles(), *words), seed=1)


def joined(*files: tuple[Path, float], method: Method | None = None, request: Request | None = None) -> Joined:
    asked = request or read_request([])
    path = files[0][0].with_name("joined.safetensors")
    return join(asked.plugins.hook, asked.config, files, path, method or Method())


def result(path: Path) -> dict[str, Tensor]:
    return load_file(path.with_name("joined.safetensors"))


def changes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what any reader of the field makes of a LoRA file."""
    found = {}
    for key in {name.partition(".")[0] for name in tensors}:
        down, up = tensors[f"{key}.lora_down.weight"].double(), tensors[f"{key}.lora_up.weight"].double()
        found[key] = up.flatten(1) @ down.flatten(1) * (tensors[f"{key}.alpha"].double() / len(down))
    return found


def summed(*files: tuple[Path, float]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path, ratio in files:
        for key, change in changes(load_file(path)).items():
            found[key] = found.get(key, torch.zeros_like(change)) + ratio * change
    return found


def same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], rtol: float = 1e-5) -> bool:
    return set(found) == set(wanted) and all(
        torch.allclose(found[key], wanted[key], rtol=rtol, atol=1e-6) for key in wanted
    )


@pytest.mark.parametrize("ratios", [(1.0, 1.0), (0.5, 2.0), (1.0, -1.0)])
def test_concat_changes_what_the_files_change_together(first: Path, second: Path, ratios: tuple[float, float]) -> None:
    files = (first, ratios[0]), (second, ratios[1])
    assert joined(*files).modules == 5
    assert same(changes(result(first)), summed(*files))


def test_concat_stacks_ranks_of_any_size(first: Path, second: Path) -> None:
    joined((first, 1.0), (second, 1.0))
    found = result(first)
    assert [len(found[f"{key}.lora_down.weight"]) for key in (MIX, TEXT, CONV)] == [7, 7, 2]
    assert found[f"{MIX}.alpha"] == 7  # scales differ: they are in the factors
    assert found[f"{CONV}.alpha"] == 1  # one file's alone: as it was


def test_what_one_file_holds_stays_as_it_is(first: Path) -> None:
    joined((first, 1.0))
    found, wanted = result(first), load_file(first)
    assert all(torch.equal(found[name], wanted[name]) for name in {*found, *wanted})


def test_svd_is_the_nearest_of_its_rank(first: Path, second: Path) -> None:
    files = (first, 0.5), (second, 2.0)
    joined(*files, method=SVD)
    found, wanted = changes(result(first)), summed(*files)
    for key, rank in ((MIX, 2), (TEXT, 2), (CONV, 2)):  # the convolution has no more than 2
        left, values, right = torch.linalg.svd(wanted[key], full_matrices=False)
        nearest = left[:, :rank] * values[:rank] @ right[:rank]
        assert torch.allclose(found[key], nearest, atol=1e-5)


def test_svd_of_enough_ranks_is_exact(first: Path, second: Path) -> None:
    files = (first, 0.5), (second, 2.0)
    came = joined(*files, method=Method("svd", rank=8, conv_rank=8))
    assert same(changes(result(first)), summed(*files))
    assert came.shares.kept() == pytest.approx(1)


def test_svd_tells_what_it_leaves_out(first: Path, second: Path) -> None:
    files = (first, 1.0), (second, 1.0)
    shares = joined(*files, method=SVD).shares
    found, wanted = changes(result(first)), summed(*files)
    left_out = sum(float((found[key] - wanted[key]).square().sum()) for key in wanted)
    assert shares.kept() == pytest.approx(1 - left_out / sum(float(one.square().sum()) for one in wanted.values()))


def _changed(path: Path, **tensors: Tensor) -> Path:
    """Give tensors of the mix layer other values."""
    held = load_file(path)
    save_file({**held, **{f"{MIX}.{name.replace('__', '.')}": tensor for name, tensor in tensors.items()}}, path)
    return path


def test_a_third_factor_is_multiplied_in(tmp_path: Path) -> None:
    up, down, mid = torch.randn(6, 2, 1, 1), torch.randn(2, 5, 1, 1), torch.randn(2, 2, 3, 3)
    names = {"lora_up.weight": up, "lora_down.weight": down, "lora_mid.weight": mid, "alpha": torch.tensor(1.0)}
    path = tmp_path / "tucker.safetensors"
    save_file({f"{CONV}.{name}": tensor for name, tensor in names.items()}, path)
    joined((path, 2.0))
    wanted = torch.einsum("op,pqkl,qi->oikl", up[..., 0, 0], mid, down[..., 0, 0])  # · 2 · 1/2
    assert torch.allclose(changes(result(path))[CONV].float(), wanted.flatten(1), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_precision_stays_where_files_share_one(tmp_path: Path, first: Path, dtype: torch.dtype) -> None:
    half = write_lora(tmp_path / "half.safetensors", toy_request(ToyFiles()), dtype=dtype)
    joined((half, 1.0), (half, 1.0))
    assert {tensor.dtype for tensor in result(half).values()} == {dtype}
    assert same(changes(result(half)), summed((half, 2.0)))
    joined((half, 1.0), (first, 1.0))
    assert result(half)[f"{MIX}.lora_up.weight"].dtype == torch.float32


def test_numbers_beyond_a_precision_are_an_error(first: Path) -> None:
    with pytest.raises(LoracoreError, match=r"lora_up\.weight is too large for float16"):
        joined((first, 1e7), method=Method(dtype=torch.float16))
    assert {path.name for path in first.parent.iterdir() if path.is_file()} == {"first.safetensors"}


def test_the_header_tells_ranks_sources_and_model(tmp_path: Path, first: Path, second: Path) -> None:
    save_file(load_file(first), first, {"ss_base_model_version": "toy", "ss_steps": "7"})
    save_file(load_file(second), second, {"ss_base_model_version": "toy", "ss_v2": "False"})
    joined((first, 1.0), (second, 1.0))
    said = read_header(tmp_path / "joined.safetensors").metadata
    assert said["ss_base_model_version"] == "toy"
    assert (said["ss_network_dim"], said["ss_network_alpha"]) == ("7", "7.0")
    assert said["ss_network_args"] == '{"conv_dim": "2", "conv_alpha": "1.0"}'
    assert said["modelspec.merged_from"] == "first.safetensors, second.safetensors"
    assert not {"ss_steps", "ss_v2"} & set(said)


def test_ranks_that_differ_are_dynamic(tmp_path: Path, first: Path, second: Path) -> None:
    held = load_file(second)
    save_file({name: tensor for name, tensor in held.items() if not name.startswith(TEXT)}, second)
    joined((first, 1.0), (second, 1.0))
    assert read_header(tmp_path / "joined.safetensors").metadata["ss_network_dim"] == "Dynamic"


@pytest.mark.parametrize("width", [8, 400])
def test_hashes_are_those_of_a_saved_file(tmp_path: Path, width: int) -> None:
    request = toy_request(ToyFiles(), "--toy_width", str(width), "--network_dim", "512")
    path = write_lora(tmp_path / "wide.safetensors", request)
    joined((path, 1.0))
    said = read_header(tmp_path / "joined.safetensors").metadata
    wanted = file_hashes(result(path), {name: value for name, value in said.items() if not name.startswith("sshs_")})
    assert {name: said[name] for name in wanted} == wanted


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, first: Path, second: Path) -> None:
    _changed(second, lora_down__weight=torch.zeros(3, 9))
    broken = write_lora(tmp_path / "broken.safetensors", toy_request(ToyFiles()))
    _changed(broken, alpha=torch.tensor(torch.nan))
    peft = tmp_path / "peft.safetensors"
    save_file({f"toy.mix.lora_{factor}.weight": torch.zeros(8, 8) for factor in "AB"}, peft)
    with pytest.raises(DataError) as caught:
        joined((first, 1.0), (second, 1.0), (broken, 1.0), (peft, 1.0))
    shape, finite, names = map(str, caught.value.problems)
    assert f"{second}: {MIX} changes a weight of shape [8, 9], in {first} one of [8, 8]" in shape
    assert f"1 tensors are not finite, for example {MIX}.alpha" in finite
    assert "loracore convert" in names
    assert not (tmp_path / "joined.safetensors").exists()


def test_factors_that_do_not_fit_together_are_named(first: Path) -> None:
    with pytest.raises(DataError, match=f"{MIX}: .* do not fit one another: the file is damaged"):
        joined((_changed(first, lora_up__weight=torch.zeros(8, 3)), 1.0))


def test_files_of_two_models_are_told_apart(tmp_path: Path, first: Path) -> None:
    """Text encoders may be the same in two architectures: keys that are in both files say nothing."""
    other, tensors = tmp_path / "other.safetensors", load_file(first)
    renamed = {name.replace("lora_unet_", "lora_unet_other_"): one for name, one in tensors.items()}
    save_file(renamed, other, {"ss_base_model_version": "giant"})
    save_file(tensors, first, {"ss_base_model_version": "toy"})
    with pytest.raises(DataError, match=r"other\.safetensors: the file is for 'giant', .* for 'toy'"):
        joined((first, 1.0), (other, 1.0))


def test_headers_may_spell_a_model_in_two_ways_where_modules_of_its_denoiser_are_shared(
    tmp_path: Path, first: Path
) -> None:
    other, tensors = tmp_path / "other.safetensors", load_file(first)
    save_file(tensors, other, {"ss_base_model_version": "toy_1.0"})
    save_file(tensors, first, {"ss_base_model_version": "toy_v1"})
    assert joined((first, 1.0), (other, 1.0)).modules


def test_the_model_specification_tells_more_than_a_trainers_own_word(tmp_path: Path, first: Path) -> None:
    other = tmp_path / "other.safetensors"
    for path, said in ((other, "toy_1.0"), (first, "toy_v1")):
        header = {"ss_base_model_version": said, "modelspec.architecture": "toy/lora"}
        save_file(load_file(first), path, header)
    assert joined((first, 1.0), (other, 1.0)).modules


def _loha(path: Path, key: str = MIX) -> Path:
    torch.manual_seed(2)
    shapes = {"w1_a": (8, 2), "w1_b": (2, 8), "w2_a": (8, 2), "w2_b": (2, 8)}
    tensors = {f"{key}.hada_{name}": torch.randn(shape) for name, shape in shapes.items()}
    save_file({**tensors, f"{key}.alpha": torch.tensor(1.0)}, path)
    return path


def test_svd_adds_changes_of_several_kinds(tmp_path: Path, first: Path) -> None:
    path = _loha(tmp_path / "loha.safetensors")
    joined((first, 0.5), (path, 2.0), method=replace(SVD, rank=8), request=toy_request(ToyFiles()))
    factors = [load_file(path)[f"{MIX}.hada_{name}"].double() for name in ("w1_a", "w1_b", "w2_a", "w2_b")]
    change = (factors[0] @ factors[1]) * (factors[2] @ factors[3]) / 2  # alpha / rank
    wanted = summed((first, 0.5))[MIX] + 2 * change
    assert torch.allclose(changes(result(first))[MIX], wanted, atol=1e-5)


def test_changes_that_depend_on_the_base_model_are_refused(tmp_path: Path, first: Path) -> None:
    path = _changed(first, dora_scale=torch.ones(8, 1))
    with pytest.raises(DataError, match=f"{MIX}: what this kind of network changes depends on the base model's"):
        joined((path, 1.0), method=SVD, request=toy_request(ToyFiles()))
    assert not (tmp_path / "joined.safetensors").exists()


@pytest.mark.parametrize(
    ("method", "fix"), [(Method(), "concat takes LoRA alone"), (SVD, "give --arch NAME")], ids=["concat", "svd"]
)
def test_other_networks_need_svd_and_an_architecture(tmp_path: Path, method: Method, fix: str) -> None:
    with pytest.raises(DataError, match=f"1 modules are no plain LoRA but of a LoHa .*{fix}"):
        joined((_loha(tmp_path / "loha.safetensors"), 1.0), method=method)


def test_a_module_without_a_place_is_named(tmp_path: Path) -> None:
    path = _loha(tmp_path / "loha.safetensors", "lora_unet_blocks_0_mixx")
    with pytest.raises(DataError, match="did you mean 'lora_unet_blocks_0_mix'"):
        joined((path, 1.0), method=replace(SVD, rank=4), request=toy_request(ToyFiles()))
