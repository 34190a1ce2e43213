"""``python -m loracore.testing``: the command line with the toys beside what is installed."""

from __future__ import annotations

import subprocess
import sys


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loracore.testing", *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def test_the_toys_are_among_the_plugins() -> None:
    done = run("plugins")
    kinds = [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("toy ")]
    assert kinds == [["architecture", "loracore-toys"], ["network", "loracore-toys"]]


def test_errors_and_exit_codes_are_those_of_the_program() -> None:
    done = run("train", "nowhere.toml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
