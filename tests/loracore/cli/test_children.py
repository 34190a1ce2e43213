"""What becomes of real processes that a launcher has started, when they are asked to end, and when they are stuck."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loracore.cli.children import Children
from loracore.errors import FailedElsewhereError

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals"),
    pytest.mark.timeout(60),
]

#: Writes down every signal and goes on; begins with its first line.
DEAF = """
import signal, sys, time
def heard(number, frame):
    print(signal.Signals(number).name, file=open(sys.argv[1], "a"), flush=True)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, heard)
print("begun", file=open(sys.argv[1], "a"), flush=True)
while True:
    time.sleep(0.01)
"""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def children(clock: Clock) -> Iterator[Children]:
    started = Children(grace=0.2, clock=clock)
    yield started
    started.kill()
    for child in started.all:
        child.process.wait()


def start(children: Children, source: str, *words: Path) -> None:
    children.start([sys.executable, "-c", source, *map(str, words)], os.environ, None)


def start_deaf(children: Children, path: Path) -> None:
    start(children, DEAF, path)
    wait_for(path, "begun")


def wait_for(path: Path, word: str) -> None:
    while not path.exists() or word not in path.read_text("utf-8"):
        time.sleep(0.01)


def codes(children: Children) -> list[int | None]:
    return [child.process.returncode for child in children.all]


def test_a_closed_terminal_is_handed_on_as_the_wish_to_stop(children: Children, tmp_path: Path) -> None:
    start_deaf(children, tmp_path / "heard")
    with children.hearing():
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(tmp_path / "heard", "SIGTERM")


def test_the_third_wish_ends_what_is_stuck(children: Children, clock: Clock, tmp_path: Path) -> None:
    start_deaf(children, tmp_path / "heard")
    with children.hearing():
        for after in (0, 0, 0, 2):  # the first three are one wish, which came on several ways
            clock.now += after
            os.kill(os.getpid(), signal.SIGINT)
        assert children.all[0].process.poll() is None
        clock.now += 2
        os.kill(os.getpid(), signal.SIGINT)
        failed = children.wait()
    assert failed is children.all[0]
    assert codes(children) == [-signal.SIGKILL]


def test_a_signal_reaches_what_is_started_after_it(children: Children) -> None:
    with children.hearing():
        os.kill(os.getpid(), signal.SIGTERM)
        start(children, "import time; time.sleep(50)")
        children.wait()
    assert codes(children) == [-signal.SIGTERM]


@pytest.mark.parametrize("code", [0, 130])
def test_what_is_stuck_when_the_main_process_has_ended_is_ended(children: Children, tmp_path: Path, code: int) -> None:
    start(children, f"raise SystemExit({code})")
    start_deaf(children, tmp_path / "heard")
    failed = children.wait()
    assert failed is children.all[0 if code else 1]
    assert codes(children) == [code, -signal.SIGKILL]
    assert "SIGTERM" in (tmp_path / "heard").read_text("utf-8")  # it was asked first


@pytest.mark.parametrize("delays", [(0, 0.3), (0.3, 0), (0, 0)])
@pytest.mark.parametrize("code", [1, 2, 9])
def test_who_failed_is_not_who_was_told_of_it(code: int, delays: tuple[float, float]) -> None:
    children = Children(grace=10)
    for end, delay in zip((FailedElsewhereError.exit_code, code), delays, strict=True):
        start(children, f"import time; time.sleep({delay}); raise SystemExit({end})")
    failed = children.wait()
    assert failed is children.all[1]


def test_a_process_that_hangs_after_another_was_told_is_ended(children: Children) -> None:
    start(children, "import time; time.sleep(50)")
    start(children, f"raise SystemExit({FailedElsewhereError.exit_code})")
    assert children.wait() is children.all[0]
    assert codes(children) == [-signal.SIGTERM, FailedElsewhereError.exit_code]
