from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from loracore.errors import DataError
from loracore.weights.network_file import open_network_file
from loracore.weights.network_header import other_architecture

KEY = "lora_unet_a"


def opened(folder: Path, up: Tensor, down: Tensor, **more: Tensor) -> None:
    tensors = {f"{KEY}.lora_up.weight": up, f"{KEY}.lora_down.weight": down}
    path = folder / "file.safetensors"
    save_file({**tensors, **{f"{KEY}.{name}": tensor for name, tensor in more.items()}}, path)
    open_network_file(path)


def test_a_module_without_ranks_is_damage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"file\.safetensors: {KEY}\.lora_up\.weight has shape \[16, 0\]: .* damaged"):
        opened(tmp_path, torch.zeros(16, 0), torch.zeros(0, 16))


@pytest.mark.parametrize("shape", [(2,), (1, 3)])
def test_an_alpha_of_several_numbers_is_damage(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=rf"{KEY}\.alpha has shape .*, not a single number: the file is damaged"):
        opened(tmp_path, torch.zeros(4, 2), torch.zeros(2, 4), alpha=torch.ones(shape))


@pytest.mark.parametrize("alpha", [torch.tensor(1), torch.ones(1), torch.ones(1, 1)])
def test_one_number_is_an_alpha_whatever_its_form(tmp_path: Path, alpha: Tensor) -> None:
    opened(tmp_path, torch.zeros(4, 2), torch.zeros(2, 4), alpha=alpha)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_factors_of_whole_numbers_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    with pytest.raises(DataError, match=rf"{KEY}\.lora_up\.weight holds whole numbers"):
        opened(tmp_path, torch.ones(4, 2, dtype=dtype), torch.zeros(2, 4))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bfloat16, torch.float64])
def test_factors_of_every_precision_are_taken(tmp_path: Path, dtype: torch.dtype) -> None:
    opened(tmp_path, torch.ones(4, 2).to(dtype), torch.zeros(2, 4).to(dtype))


def test_the_ranks_of_factors_are_the_same(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"{KEY}: .*up.* \[4, 3\], .*down.* \[2, 4\] do not fit one another: .* damaged"
    ):
        opened(tmp_path, torch.zeros(4, 3), torch.zeros(2, 4))


def test_a_third_factor_stands_between_two_ranks(tmp_path: Path) -> None:
    middle = {"lora_mid.weight": torch.zeros(3, 2, 3, 3)}
    opened(tmp_path, torch.zeros(4, 3, 1, 1), torch.zeros(2, 4, 1, 1), **middle)
    with pytest.raises(DataError, match="do not fit one another"):
        opened(tmp_path, torch.zeros(4, 2, 1, 1), torch.zeros(2, 4, 1, 1), **middle)


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        (f"{KEY}.lora_up.weight", f"{KEY} has no lora_down.weight"),
        (f"{KEY}.lora_down.weight", f"{KEY} has no lora_up.weight"),
        ("unet.a.lora_A.weight", r"unet\.a has no lora_B.weight"),
        ("unet.a.lora.up.weight", r"unet\.a has no lora.down.weight"),
    ],
)
def test_a_lone_factor_is_damage(tmp_path: Path, name: str, lacking: str) -> None:
    save_file({name: torch.zeros(2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(DataError, match=f"{lacking}: the file is damaged"):
        open_network_file(tmp_path / "half.safetensors")


def test_pickles_texts_and_empty_files_are_no_networks(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "old.PT")
    (tmp_path / "note.safetensors").write_text("a text, not a file of tensors")
    save_file({}, tmp_path / "empty.safetensors")
    for name, said in (("old.PT", "pickle"), ("note", "not a .safetensors file"), ("empty", "holds no tensors")):
        with pytest.raises(DataError, match=said):
            open_network_file(tmp_path / (name if "." in name else f"{name}.safetensors"))


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ({"ss_base_model_version": "a"}, {"ss_base_model_version": "b"}, ("a", "b")),
        ({"ss_base_model_version": "a"}, {}, None),
        ({"modelspec.architecture": "a/lora"}, {"modelspec.architecture": "a"}, None),
        ({"modelspec.architecture": "a/lora"}, {"modelspec.architecture": "b/lora"}, ("a", "b")),
        ({"modelspec.architecture": "a"}, {"ss_base_model_version": "b"}, None),
    ],
)
def test_two_headers_differ_where_both_say_an_architecture(
    first: dict[str, str], second: dict[str, str], found: tuple[str, str] | None
) -> None:
    assert other_architecture(first, second) == found
