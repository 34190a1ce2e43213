"""What a command cannot do without is asked for before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore.config.given import Given
from loracore.config.needs import MODEL, missing


def said_of_model(name: str) -> list[str]:
    return [str(problem) for problem in missing({MODEL: Given(MODEL, name, "a.toml:1")}, [MODEL])]


WAYS = '(give --output_dir VALUE, or write output_dir = "…" in CONFIG)'


def test_a_needed_option_that_is_missing_names_both_ways_to_give_it() -> None:
    (problem,) = missing({}, ["output_dir"])
    assert str(problem) == f"output_dir is missing {WAYS}"


def test_a_needed_option_that_is_empty_is_told_with_its_place() -> None:
    (problem,) = missing({"output_dir": Given("output_dir", "", "a.toml:2")}, ["output_dir"])
    assert str(problem) == f"a.toml:2: output_dir is empty {WAYS}"


def test_a_model_that_is_given_must_be_there_even_if_it_is_not_needed() -> None:
    given = {MODEL: Given(MODEL, "/no/model", "--model")}
    assert missing({}, []) == []
    assert [problem.where for problem in missing(given, [])] == ["--model"]
    assert "is empty" in str(missing({MODEL: Given(MODEL, "", "--model")}, []))


@pytest.mark.parametrize("name", ["/no/such/model.safetensors", "model", "./owner/name", "owner/model.safetensors"])
def test_a_model_that_does_not_exist_is_told(name: str) -> None:
    (said,) = said_of_model(name)
    assert said.startswith(f"a.toml:1: base model '{name}' does not exist")


def test_a_hub_id_or_an_existing_path_is_a_model(tmp_path: Path) -> None:
    assert said_of_model("owner/some-model.1_0") == []
    assert said_of_model(str(tmp_path)) == []
