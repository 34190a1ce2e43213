"""``loracore extract``: options of its own, and everything that is wrong with the models is told at once."""

from __future__ import annotations

import pytest

from loracore.cli.completion import complete_words
from loracore.weights.options import ExtractOptions
from tests.loracore.cli.conftest import Call

pytestmark = pytest.mark.usefixtures("toy_site")

TOY = ("extract", "--arch", "toy", "--pretrained_model_name_or_path", "owner/toy")


def test_what_is_needed_is_told(loracore: Call) -> None:
    answer = loracore("extract", "--arch", "toy")
    assert [error.split()[0] for error in answer.errors] == ["pretrained_model_name_or_path", "tuned_model", "save_to"]


def test_everything_that_is_wrong_is_told_at_once(loracore: Call) -> None:
    answer = loracore(*TOY, "--tuned_model", "owner/toy", "--save_to", "x.bin")
    assert [error.partition(":")[0] for error in answer.errors] == ["--tuned_model", "--save_to"]
    assert "this is the base model itself" in answer.errors[0]


@pytest.mark.parametrize(("option", "value"), [("clamp_quantile", "0"), ("clamp_quantile", "1.1"), ("min_diff", "-1")])
def test_limits_have_a_range(loracore: Call, option: str, value: str) -> None:
    answer = loracore(*TOY, "--tuned_model", "owner/other", "--save_to", "x.safetensors", f"--{option}={value}")
    assert answer.code == 2
    assert answer.errors[0].startswith(f"--{option}")


def test_help_and_completion_know_the_commands_own_options(loracore: Call) -> None:
    assert "--clamp_quantile" in loracore("extract", "--help").out
    assert "--clamp_quantile" not in loracore("train", "--help").out
    assert [item.value for item in complete_words([], "--tuned", (), (ExtractOptions,))] == ["--tuned_model"]


def test_an_architecture_without_tables_says_so(loracore: Call, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("new") / "new.safetensors"
    answer = loracore(*TOY, "--tuned_model", "owner/other", "--save_to", str(path))
    assert answer.code == 2
    assert "cannot be rewritten" in answer.errors[0]


def test_options_that_are_wrong_cost_no_torch(imports: Call) -> None:
    answer = imports(*TOY, "--tuned_model", "owner/toy", "--save_to", "new.safetensors")
    assert (answer.code, answer.out.strip()) == (2, "")
