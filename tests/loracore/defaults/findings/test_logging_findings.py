from __future__ import annotations

from pathlib import Path

import pytest

from loracore import ConfigError
from loracore.cli.request import read_request


def problems(toy_config: Path, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_request([str(toy_config), *words])
    return str(caught.value)


@pytest.mark.parametrize("tracker", ["tensorboard", "all"])
def test_tensorboard_needs_a_folder(toy_config: Path, tracker: str) -> None:
    assert "needs a folder" in problems(toy_config, "--log_with", tracker)


def test_an_unknown_tracker_suggests_the_nearest(toy_config: Path) -> None:
    assert "did you mean 'tensorboard'?" in problems(toy_config, "--log_with", "tensorbord")


def test_a_missing_package_is_said_before_anything_is_loaded(toy_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loracore.defaults.findings.logging_findings.find_spec", lambda _: None)
    assert "pip install mlflow" in problems(toy_config, "--log_with", "mlflow")


def test_a_file_of_arguments_must_be_toml_of_trackers(toy_config: Path, tmp_path: Path) -> None:
    path = tmp_path / "trackers.toml"
    words = ("--log_with", "wandb", "--log_tracker_config", str(path))
    assert "cannot be read" in problems(toy_config, *words)
    path.write_text("[wandb", encoding="utf-8")
    assert "no TOML" in problems(toy_config, *words)
    path.write_text('name = "fish"\n', encoding="utf-8")
    assert "no table of a tracker" in problems(toy_config, *words)


def test_a_console_file_in_no_folder_is_wrong(toy_config: Path, tmp_path: Path) -> None:
    assert "cannot be written" in problems(toy_config, "--console_log_file", str(tmp_path / "no" / "x.txt"))


@pytest.mark.parametrize("option", ["log_tracker_name", "wandb_run_name", "wandb_api_key", "log_prefix"])
def test_options_of_trackers_that_are_not_used_are_without_effect(toy_config: Path, option: str) -> None:
    notes = read_request([str(toy_config), f"--{option}", "x"]).notes
    assert any("without effect" in note and option in note for note in notes)
    assert not any(word == "x" for note in notes for word in note.split())
