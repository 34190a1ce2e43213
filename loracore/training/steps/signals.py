"""Signals that ask a process to stop: who hears them, and which of them are one wish."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

#: Ctrl+C; a scheduler or service manager; a terminal that was closed (Windows has none, and never sends SIGTERM).
STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
#: Seconds in which signals are one wish. A service manager, a scheduler or a console sends one to every process of a
#: run, and a launcher among them hands its own on: it comes twice.
SAME_WISH = 1.0

Handler = Callable[[int, FrameType | None], None]


class Wishes:
    """Counts how often somebody has asked, by the signals that come of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock  # in seconds
        self._last: float | None = None  # when the newest wish came
        self._count = 0

    @property
    def count(self) -> int:
        """How often somebody has asked."""
        return self._count

    def new(self) -> bool:
        """Tell whether the signal that has come now is a wish of its own, no echo of the one before."""
        now = self._clock()
        if self._last is not None and now - self._last < SAME_WISH:
            return False
        self._last = now
        self._count += 1
        return True


@contextmanager
def heard(names: Sequence[str], handler: Handler) -> Iterator[None]:
    """Have ``handler`` hear the signals of these names, then whoever heard them before.

    Those that this process was told to ignore it goes on to ignore, with what it starts: ``nohup`` does so with SIGHUP.
    Signals reach the main thread alone: elsewhere nothing changes, nor for a signal that the system does not have.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number in numbers if before[number] is not signal.SIG_IGN]
    try:
        for number in taken:
            signal.signal(number, handler)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number] or signal.SIG_DFL)  # None: set by who knows nothing of Python
