"""The processes that a launcher has started: signals are handed on to them, they are waited for, none is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import IO

from loracore.errors import FailedElsewhereError
from loracore.training.steps.signals import STOPPING, Wishes, heard

#: Seconds that processes have to end by themselves after one has failed or the main one has ended, and again after they
#: were asked to.
GRACE = 20.0
_POLL = 0.05
_ENOUGH = 3  # wishes: the first is to save and stop, the second to stop at once


@dataclass(frozen=True, eq=False, slots=True)
class Child:
    """One process of the run."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes] | None  # what it says on stderr; None: it says it to the user


class Children:
    """The processes of a run, in the order of their ranks: the first is the main one."""

    def __init__(self, grace: float = GRACE, clock: Callable[[], float] = time.monotonic) -> None:
        self._all: list[Child] = []
        self._grace = grace  # seconds
        self._signals: list[int] = []  # that were to be handed on
        self._wishes = Wishes(clock)  # that they tell

    @property
    def all(self) -> Sequence[Child]:
        """Those that were started."""
        return self._all

    def start(self, command: Sequence[str], environment: Mapping[str, str], errors: IO[bytes] | None) -> None:
        """Start one, in a group of its own: a terminal's Ctrl+C reaches it through this process alone.

        What signals have asked for by now it is told as well.
        """
        quiet = {} if errors is None else {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        process = subprocess.Popen(command, env=environment, start_new_session=os.name == "posix", **quiet)  # type: ignore[call-overload]  # noqa: S603  # one dict of several types; our own module, no shell
        child = Child(process, errors)
        self._all.append(child)
        for number in self._signals:
            _send(child, number)
        if self._wishes.count >= _ENOUGH:
            self.kill()

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Hand signals on, as long as somebody is there to hear them; a third wish ends what is left.

        A closed terminal is a wish to save and to stop like any other: SIGHUP is handed on as SIGTERM. On Windows a
        console hands Ctrl+C to all of them itself.
        """
        with heard(STOPPING, self._hand_on):
            yield

    def _hand_on(self, number: int, _frame: FrameType | None) -> None:
        wanted = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
        self._signals.append(wanted)
        if self._wishes.new() and self._wishes.count >= _ENOUGH:
            self.kill()
        elif os.name == "posix":
            for child in self._all:
                _send(child, wanted)

    def wait(self) -> Child | None:
        """Return when every process has ended, and the first of them that failed, of itself if one did.

        After a failure, and after the end of the main process, the others have a time of grace, then they are asked to
        end, then they are ended. A process that a signal asked to stop has not failed of itself: whoever saves its work
        then is waited for.
        """
        failed: Child | None = None  # of itself: those that were told of another's failure may end before that one
        deadline, asked = float("inf"), False
        while any(child.process.poll() is None for child in self._all):
            time.sleep(_POLL)
            ended = [child for child in self._all if not asked and _went_wrong(child)]
            failed = failed or next((child for child in ended if not _was_told(child)), None)
            if deadline == float("inf"):
                over = bool(ended) or self._all[0].process.poll() is not None
                deadline = time.monotonic() + self._grace if over else deadline
            elif time.monotonic() > deadline:
                for child in self._all:
                    (child.process.kill if asked else child.process.terminate)()
                deadline, asked = time.monotonic() + self._grace, True
        return failed or min((child for child in self._all if child.process.returncode), key=_was_told, default=None)

    def kill(self) -> None:
        """End what is left, at once."""
        for child in self._all:
            child.process.kill()


def _send(child: Child, number: int) -> None:
    """Send a signal to a process if it runs; Windows ends it."""
    if os.name == "posix":
        child.process.send_signal(number)
    else:
        child.process.terminate()


def _went_wrong(child: Child) -> bool:
    """Tell whether a process failed, and was not asked to stop (130 and 143, or those signals)."""
    stopped = {0, 130, 143, -signal.SIGINT, -signal.SIGTERM}
    return child.process.poll() is not None and child.process.returncode not in stopped


def _was_told(child: Child) -> bool:
    """Tell whether a process has ended because another one failed."""
    return child.process.returncode == FailedElsewhereError.exit_code
