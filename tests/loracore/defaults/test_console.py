from __future__ import annotations

import sys
from pathlib import Path

import pytest

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


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be")
def test_the_header_commands_no_terminal(
    train_toy: TrainToy, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "0.png").rename(pictures / "\x1b[31m.png")
    train_toy("--max_train_steps", "1")
    said = capsys.readouterr().err
    assert "\\x1b[31m.png" in said
    assert "\x1b[31m" not in said
