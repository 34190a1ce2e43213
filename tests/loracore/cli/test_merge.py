"""``loracore merge``: options of its own, and everything that is wrong with the files is told at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore.cli import weight_files
from loracore.cli.completion import complete_words
from loracore.cli.request import Request, read_request
from loracore.weights.options import MergeOptions
from tests.loracore.cli.conftest import Call
from tests.loracore.weights.toy_files import ToyFiles, toy_request, write_lora

pytestmark = pytest.mark.usefixtures("toy_site")

TOY = ("merge", "--arch", "toy", "--pretrained_model_name_or_path", "owner/toy")


@pytest.fixture
def lora(tmp_path: Path) -> str:
    return str(write_lora(tmp_path / "lora.safetensors", toy_request(ToyFiles())))


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
def test_the_path_of_the_checkpoint_is_printed(loracore: Call, lora: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "merged.safetensors"
    answer = loracore(*TOY, "--models", lora, "--save_to", str(path), "--save_precision", "bf16")
    assert (answer.code, answer.out.strip()) == (0, str(path))
    assert "3 modules merged" in answer.err
    assert {one.dtype for one in load_file(path).values()} == {torch.bfloat16}


@pytest.mark.usefixtures("rewritable")
def test_one_ratio_counts_for_all(loracore: Call, lora: str, tmp_path: Path) -> None:
    def merged(name: str, *words: str) -> torch.Tensor:
        path = tmp_path / name
        assert loracore(*TOY, "--models", *words, "--save_to", str(path)).code == 0
        return load_file(path)["model.mix.weight"]

    once = merged("one.safetensors", lora, lora, "--ratios", "0.5")
    each = merged("each.safetensors", lora, lora, "--ratios", "0.25", "0.75")
    assert torch.allclose(once, each, atol=1e-6)
    assert torch.allclose(once, merged("whole.safetensors", lora), atol=1e-6)


def test_an_architecture_without_tables_says_so(loracore: Call, lora: str, tmp_path: Path) -> None:
    answer = loracore(*TOY, "--models", lora, "--save_to", str(tmp_path / "merged.safetensors"))
    assert answer.code == 2
    assert "cannot be rewritten" in answer.errors[0]


def test_everything_that_is_wrong_is_told_at_once(loracore: Call, lora: str) -> None:
    answer = loracore(*TOY, "--models", lora, "nowhere.safetensors", "--ratios", "1", "2", "3", "--save_to", "x.ckpt")
    assert answer.code == 2
    assert [error.partition(":")[0] for error in answer.errors] == ["--models", "--ratios", "--save_to"]


@pytest.mark.parametrize("ratio", ["nan", "inf", "-inf"])
def test_a_strength_is_a_finite_number(loracore: Call, lora: str, ratio: str) -> None:
    answer = loracore(*TOY, "--models", lora, f"--ratios={ratio}", "--save_to", "new.safetensors")
    assert answer.code == 2
    assert answer.errors[0].startswith("--ratios")


def test_mistakes_in_files_and_in_options_are_told_together(loracore: Call) -> None:
    answer = loracore(*TOY, "--models", "nowhere.safetensors", "--ratio", "1", "--save_to", "x.ckpt")
    assert "abbreviations are not accepted: write --ratios" in answer.errors[0]
    assert [error.partition(":")[0] for error in answer.errors[1:]] == ["--models", "--save_to"]


def test_a_misspelt_option_gets_a_suggestion(loracore: Call) -> None:
    assert "did you mean 'save_to'?" in loracore(*TOY, "--savee_to", "x.safetensors").err


def test_what_is_needed_is_told(loracore: Call) -> None:
    answer = loracore("merge", "--arch", "toy")
    assert [error.split()[0] for error in answer.errors] == ["models", "save_to"]


def test_an_existing_file_is_replaced_only_on_request(loracore: Call, lora: str, tmp_path: Path) -> None:
    path = tmp_path / "there.safetensors"
    path.write_bytes(b"precious")
    answer = loracore(*TOY, "--models", lora, "--save_to", str(path))
    assert "give --overwrite" in answer.errors[0]
    answer = loracore(*TOY, "--models", lora, "--save_to", lora, "--overwrite")
    assert "is read, too" in answer.errors[0]
    assert path.read_bytes() == b"precious"


def test_help_and_completion_know_the_commands_own_options(loracore: Call) -> None:
    assert "--ratios float ..." in loracore("merge", "--help").out
    assert "--ratios" not in loracore("train", "--help").out
    assert [item.value for item in complete_words([], "--rati", (), (MergeOptions,))] == ["--ratios"]


def test_networks_are_merged_into_one_without_an_architecture(loracore: Call, lora: str, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    answer = loracore("merge", "--models", lora, lora, "--ratios", "0.5", "--save_to", str(path))
    assert (answer.code, answer.out.strip()) == (0, str(path))
    ranks = {len(tensor) for name, tensor in load_file(path).items() if name.endswith("lora_down.weight")}
    assert ranks == {8}


def test_what_svd_leaves_out_is_told(loracore: Call, lora: str, tmp_path: Path) -> None:
    words = ("--models", lora, "--method", "svd", "--new_rank", "2", "--save_to", str(tmp_path / "one.safetensors"))
    answer = loracore("merge", *words)
    assert answer.code == 0
    assert "of the change is kept" in answer.err
    assert "lora_te1_projection: " in answer.err


@pytest.mark.parametrize(
    ("words", "errors"),
    [
        (("--method", "svd"), ["--method: svd needs the rank of the result"]),
        (("--new_rank", "4"), ["--new_rank: concat keeps every rank"]),
        (("--new_conv_rank", "4", "--method", "concat"), ["--new_conv_rank: concat keeps every rank"]),
        (
            ("--pretrained_model_name_or_path", "owner/toy", "--method", "svd"),
            ["the architecture of the base model is missing", "--method: method is for networks"],
        ),
        (
            ("--arch", "toy", "--pretrained_model_name_or_path", "owner/toy", "--new_rank", "1"),
            ["--new_rank: new_rank is for networks"],
        ),
    ],
)
def test_methods_that_cannot_be_are_told(
    loracore: Call, lora: str, tmp_path: Path, words: Sequence[str], errors: Sequence[str]
) -> None:
    answer = loracore("merge", "--models", lora, "--save_to", str(tmp_path / "one.safetensors"), *words)
    assert answer.code == 2
    assert [error[: len(start)] for error, start in zip(answer.errors, errors, strict=True)] == errors


def test_options_that_are_wrong_cost_no_torch(imports: Call) -> None:
    answer = imports(*TOY, "--models", "nowhere.safetensors", "--save_to", "new.safetensors")
    assert (answer.code, answer.out.strip()) == (2, "")
