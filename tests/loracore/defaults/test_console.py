from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from loracore import Event
from loracore.defaults.console import event_line
from tests.toy_runs import TrainToy


def test_the_header_says_what_spares_memory(train_toy: TrainToy, capsys: pytest.CaptureFixture[str]) -> None:
    train_toy("--gradient_checkpointing", "--cpu_offload_checkpointing", "--fp8_base_unet", "--max_train_steps", "1")
    said = capsys.readouterr()
    line = "memory       activations computed again, inputs kept on the host, denoiser stored in fp8"
    assert line in said.out + said.err


def test_the_header_is_silent_on_memory_when_nothing_spares_it(
    train_toy: TrainToy, capsys: pytest.CaptureFixture[str]
) -> None:
    train_toy("--max_train_steps", "1")
    said = capsys.readouterr()
    assert "memory  " not in said.out + said.err


@pytest.mark.parametrize(
    ("words", "course"),
    [((), "relative steps, a course of its own"), (("relative_step=False", "scale_parameter=False"), "constant")],
)
def test_the_header_names_the_course_that_counts(
    train_toy: TrainToy, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], course: str
) -> None:
    train_toy("--optimizer_type", "Adafactor", "--optimizer_args", *words, "--max_train_steps", "1")
    said = capsys.readouterr()
    (line,) = (line for line in (said.out + said.err).splitlines() if line.startswith("optimizer "))
    assert line.endswith(f"; {course}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--use_lion_optimizer", "--lr_scheduler", "linear"), "optimizer    Lion: unet 0.01; linear"),
        (
            ("--optimizer_type", "adamwschedulefree"),
            "optimizer    AdamWScheduleFree: unet 0.01; no course: schedule-free",
        ),
        (
            ("--lr_scheduler_type", "StepLR", "--lr_scheduler_args", "step_size=1"),
            "optimizer    AdamW: unet 0.01; StepLR",
        ),
    ],
)
def test_the_header_names_optimizer_and_course_as_they_are(
    train_toy: TrainToy, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str
) -> None:
    train_toy(*words, "--max_train_steps", "1")
    assert expected in capsys.readouterr().err.splitlines()


def test_a_validation_for_step_and_epoch_has_one_line(train_toy: TrainToy, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--validation_split", "0.34", "--validate_every_n_steps", "2", "--validate_every_n_epochs", "1")
    train_toy(*words, "--max_train_epochs", "1")
    said = capsys.readouterr().err
    assert said.count(": validation loss") == 1  # step 2, the last of its epoch


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be")
def test_the_header_commands_no_terminal(
    train_toy: TrainToy, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "0.png").rename(pictures / "\x1b[31m.png")
    train_toy("--max_train_steps", "1")
    said = capsys.readouterr().err
    assert "\\x1b[31m.png" in said
    assert "\x1b[31m" not in said


@pytest.mark.parametrize(
    ("event", "level", "words"),
    [
        (Event("saved", 3, {"path": "a.safetensors"}), "INFO", "step 3: saved a.safetensors"),
        (Event("save_failed", 3, {"path": "a", "message": "disk full"}), "ERROR", "a could not be saved: disk full"),
        (
            Event("skipped", 3, {"ids": ["x.png"]}),
            "WARNING",
            "step 3 was skipped, its loss or gradient was not finite: x.png",
        ),
        (Event("preview_failed", 3, {"message": "no memory"}), "WARNING", "no memory"),
        (Event("preview", 3, {"path": "a.png"}), "DEBUG", "a.png"),
        (Event("note", 3, {"text": "by the way"}), "INFO", "by the way"),
        (Event("finished", 3, {"reason": "no better loss"}), "INFO", "ended behind step 3: no better loss"),
        (
            Event("validation", 3, {"loss": 0.5, "divergence": -0.1, "best": True}),
            "INFO",
            "step 3: validation loss 0.5000 (-0.1000 to training), the best so far",
        ),
        (Event("validation", 3, {"loss": None, "divergence": None, "best": False}), "INFO", "not finite"),
    ],
)
def test_what_is_worth_a_line_gets_one(event: Event, level: str, words: str) -> None:
    found = event_line(event)
    assert found is not None
    assert logging.getLevelName(found[0]) == level
    assert words in found[1]


def test_a_step_moves_the_bar_and_says_nothing() -> None:
    assert event_line(Event("step", 1, {})) is None


def test_an_end_as_planned_has_no_line() -> None:
    assert event_line(Event("finished", 6, {"reason": "done", "seconds": 1.0})) is None


def test_the_header_says_how_many_processes_train(train_toy: TrainToy, capsys: pytest.CaptureFixture[str]) -> None:
    train_toy("--max_train_steps", "1")
    assert "precision    no on cpu, in 1 process" in capsys.readouterr().err.splitlines()


def test_the_header_says_where_log_and_trackers_are(
    train_toy: TrainToy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_toy("--max_train_steps", "1", "--logging_dir", str(tmp_path / "tb"))
    said = capsys.readouterr().err
    assert f"log          {tmp_path / 'out' / 'toy-log'}: events.jsonl, and report.html at the end" in said
    assert f"trackers     tensorboard in {tmp_path / 'tb'}" in said


def test_the_bar_shows_the_norms_of_scaled_adapters(train_toy: TrainToy, capsys: pytest.CaptureFixture[str]) -> None:
    train_toy("--max_train_steps", "2", "--scale_weight_norms", "1")
    said = capsys.readouterr().err
    assert "Keys Scaled=0" in said
    assert "Average key norm=" in said
