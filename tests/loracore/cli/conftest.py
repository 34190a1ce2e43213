"""The program as a user calls it, here or in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from loracore.cli.main import run


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command line leaves behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line.removeprefix("error: ") for line in self.err.splitlines()]


Call = Callable[..., Answer]


@pytest.fixture
def loracore(capfd: pytest.CaptureFixture[str]) -> Call:
    """Give a function that runs a command line in this process."""

    def call(*argv: str) -> Answer:
        code = run(argv)
        return Answer(code, *capfd.readouterr())

    return call


@pytest.fixture
def imports() -> Callable[..., Answer]:
    """Give a function that runs a command line in a new process, whose output ends with "torch" if it imported that."""

    def call(*argv: str) -> Answer:
        program = "import sys; from loracore.cli.main import run; code = run(sys.argv[1:])\n"
        program += "print(*sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules))); sys.exit(code)"
        command = [sys.executable, "-c", program, *argv]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
        return Answer(done.returncode, done.stdout, done.stderr)

    return call
