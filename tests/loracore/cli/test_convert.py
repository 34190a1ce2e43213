"""``loracore convert``: options of its own, and what is wrong with the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from loracore.cli import weight_files
from loracore.cli.completion import complete_words
from loracore.cli.request import Request, read_request
from loracore.weights.options import ConvertOptions
from tests.loracore.cli.conftest import Call
from tests.loracore.weights.toy_files import ToyFiles, toy_request, write_lora

pytestmark = pytest.mark.usefixtures("toy_site")

TOY = ("convert", "--arch", "toy")


@pytest.fixture
def lora(tmp_path: Path) -> str:
    request = toy_request(ToyFiles(), "--network_train_unet_only")
    return str(write_lora(tmp_path / "lora.safetensors", request))


@pytest.fixture
def rewritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the toy say what its tensors are called in files."""

    def read(*words: object, **more: object) -> Request:
        read_as_ever: Callable[..., Request] = read_request
        request = read_as_ever(*words, **more)
        request.plugins.register(ToyFiles())
        return request

    monkeypatch.setattr(weight_files, "read_request", read)


@pytest.mark.usefixtures("rewritable")
def test_a_base_model_is_not_needed(loracore: Call, lora: str, tmp_path: Path) -> None:
    path = tmp_path / "there.safetensors"
    answer = loracore(*TOY, "--network_weights", lora, "--save_to", str(path))
    assert (answer.code, answer.out.strip()) == (0, str(path))
    assert "diffusers names" in answer.err
    assert "toy.blocks.0.mix.lora_A.weight" in load_file(path)


@pytest.mark.usefixtures("rewritable")
def test_names_that_the_file_has_are_an_error(loracore: Call, lora: str, tmp_path: Path) -> None:
    answer = loracore(*TOY, "--network_weights", lora, "--save_to", str(tmp_path / "x.safetensors"), "--to", "kohya")
    assert answer.code == 2
    assert "the file has kohya's names already" in answer.errors[0]


def test_a_target_below_a_file_is_told_at_once(loracore: Call, lora: str) -> None:
    answer = loracore(*TOY, "--network_weights", lora, "--save_to", f"{lora}/new/x.safetensors")
    assert [error.partition(" (")[0] for error in answer.errors] == [f"--save_to: '{lora}' is no folder"]


def test_everything_that_is_wrong_is_told_at_once(loracore: Call) -> None:
    answer = loracore(*TOY, "--network_weights", "nowhere.safetensors", "--save_to", "x.bin")
    assert [error.partition(":")[0] for error in answer.errors] == ["--network_weights", "--save_to"]


def test_unknown_names_are_an_error(loracore: Call, lora: str) -> None:
    answer = loracore(*TOY, "--network_weights", lora, "--save_to", "x.safetensors", "--to", "difusers")
    assert answer.errors[0].startswith("--to")


def test_what_is_needed_is_told(loracore: Call) -> None:
    assert [error.split()[0] for error in loracore(*TOY).errors] == ["network_weights", "save_to"]


def test_completion_knows_the_formats() -> None:
    found = complete_words(["--to"], "", (), (ConvertOptions,))
    assert [item.value for item in found] == ["diffusers", "kohya"]


def test_options_that_are_wrong_cost_no_torch(imports: Call) -> None:
    answer = imports(*TOY, "--network_weights", "nowhere.safetensors", "--save_to", "new.safetensors")
    assert (answer.code, answer.out.strip()) == (2, "")
