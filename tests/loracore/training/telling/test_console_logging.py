from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from loracore import LoracoreError
from loracore.cli.request import read_request
from loracore.config.config import Config
from loracore.config.options import LoggingOptions
from loracore.training.telling.console_logging import console_logging
from tests.toy_runs import TrainToy

Configured = Callable[..., Config]


@pytest.fixture
def configured(toy_config: Path) -> Configured:
    return lambda *words: read_request([str(toy_config), *words]).config


def speak() -> None:
    logger = logging.getLogger("somebody.else")
    logger.info("by the way")
    logger.error("look here")


def test_libraries_are_heard_from_warnings_on(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    with console_logging(configured(), shown=True):
        speak()
    said = capsys.readouterr().err
    assert "by the way" not in said
    assert "ERROR   somebody.else: look here" in said


def test_a_level_that_is_given_counts_for_libraries(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    with console_logging(configured("--console_log_level", "INFO", "--console_log_simple"), shown=True):
        speak()
    assert capsys.readouterr().err == "by the way\nlook here\n"


def test_the_file_holds_the_run_and_stderr_nothing_of_it(
    train_toy: TrainToy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "console.txt"
    path.write_text("of an earlier run", encoding="utf-8")
    train_toy("--console_log_file", str(path))
    text = path.read_text("utf-8")
    assert "earlier" not in text
    assert "base model   loracore/toy" in text
    assert "step 6/6  epoch 2/2  avr_loss" in text
    assert "base model" not in capsys.readouterr().err


def test_everything_is_as_it_was_behind_the_block(configured: Configured) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with console_logging(configured("--console_log_level", "DEBUG"), shown=True):
        assert root.level == logging.DEBUG
    assert (root.level, list(root.handlers)) == before


def test_a_file_that_cannot_be_written_is_an_error(configured: Configured, tmp_path: Path) -> None:
    config = configured().with_table(LoggingOptions(console_log_file=str(tmp_path / "a" / "b.txt")))
    with pytest.raises(LoracoreError, match="cannot be written"), console_logging(config, shown=True):
        pass


@pytest.mark.parametrize(("level", "header", "bar"), [("INFO", True, True), ("WARNING", False, False)])
def test_the_level_counts_for_header_and_bar(
    train_toy: TrainToy, capsys: pytest.CaptureFixture[str], level: str, header: bool, bar: bool
) -> None:
    train_toy("--console_log_level", level)
    said = capsys.readouterr().err
    assert ("base model" in said, "avr_loss" in said) == (header, bar)


def test_simple_lines_have_no_bar(train_toy: TrainToy, capsys: pytest.CaptureFixture[str]) -> None:
    train_toy("--console_log_simple")
    said = capsys.readouterr().err
    assert [line.partition("  ")[0] for line in said.splitlines() if line.startswith("step ")][:6] == [
        f"step {number}/6" for number in range(1, 7)
    ]
    assert "steps:" not in said
