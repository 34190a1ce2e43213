"""What may end a run before its last step: signals, watchdogs, early stopping; in all processes behind one step."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from loracore.training.steps.arriving import Arriving, arriving
from loracore.training.steps.signals import STOPPING, Wishes, heard

_IN_ANOTHER = "asked for in another process"


class Interrupted(KeyboardInterrupt):
    """A run that a signal ended between two steps, everything saved that could be.

    Whoever does not know it takes it for what it is, an interrupt: exit code 130.
    """

    def __init__(self, step: int, state: Path | None) -> None:
        self.step = step  # the last that was taken
        self.state = state  # the folder to resume from; None: it could not be written, or another process wrote it
        super().__init__(f"interrupted behind step {step}")


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does: what is begun is cleared away.

    In the main thread alone; a signal that this process was told to ignore stays ignored.
    """
    with heard([name for name in STOPPING if name != "SIGINT"], _stop):
        yield


def _stop(number: int, frame: FrameType | None) -> None:
    _ = number, frame  # the interpreter's own signature
    raise KeyboardInterrupt


class Control:
    """Whether somebody has asked the run to stop: the loop looks after every step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._reason: str | None = None
        self._interrupted = False
        self._ending = False
        self._wishes = Wishes(clock)  # told by signals to this process

    @property
    def reason(self) -> str | None:
        """Why the run is to stop; None while it is to go on."""
        return self._reason

    @property
    def interrupted(self) -> bool:
        """Tell whether a signal asks for the stop: the run is not over then, it is to be resumed."""
        return self._interrupted

    def stop(self, reason: str) -> None:
        """Ask the run to end after the step that is being taken, as if it had been its last; the first reason stays."""
        self._reason = self._reason or reason

    def interrupt(self, reason: str) -> None:
        """Ask the run to stop after the step that is being taken, to be resumed later."""
        self._interrupted = self._interrupted or self._reason is None
        self.stop(reason)

    def agree(self, *, interrupted: bool) -> None:
        """Stop as all processes have decided together, whatever this one wanted."""
        if self._reason is None or self._interrupted != interrupted:
            self._reason = _IN_ANOTHER
        self._interrupted = interrupted

    def end(self) -> None:
        """Have signals stop at once from here on: no step is left that one could ask the run to end behind."""
        self._ending = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the first SIGINT, SIGTERM or SIGHUP as `interrupt`; a second one, or one at the end, stops at once.

        To stop at once is KeyboardInterrupt. Signals within a second are one wish (`Wishes`). The first signal of a
        process that ends since another was interrupted is no second one: a console sends Ctrl+C to all, and this one is
        late. Signals reach the main thread alone, and what this process was told to ignore stays ignored (`heard`).
        """
        with heard(STOPPING, self._heard):
            yield

    def _heard(self, number: int, frame: FrameType | None) -> None:
        _ = frame  # the interpreter's own signature
        if not self._wishes.new():
            return
        if self._wishes.count > 1 or (self._ending and not self._interrupted):
            raise KeyboardInterrupt
        self.interrupt(signal.Signals(number).name)


class Agreement:
    """Brings the processes of a run to stop behind the same step, and in the same way.

    What each of them wants is added up with the loss, and read as late as losses are, so that nobody waits. The sum
    alone decides: one that has heard a signal interrupts all; a signal that came too late for the sum counts nothing.
    """

    def __init__(self, control: Control, device: torch.device, processes: int, lag: int) -> None:
        self._control = control
        self._device = device
        self._alone = processes == 1
        self._lag = lag  # steps between a sum and its reading
        self._sums: deque[Arriving] = deque()

    def wishes(self) -> Tensor:
        """Return what this process wants: to be interrupted, to end (2, each 0 or 1); empty for a single process."""
        if self._alone:
            return torch.zeros(0, device=self._device)
        own, wishes = self._control, torch.zeros(2, device=self._device)
        if own.reason is not None:
            wishes[0 if own.interrupted else 1].fill_(1)  # on the device: a number from the host would wait for it
        return wishes

    def stops(self, summed: Tensor) -> bool:
        """Tell whether the run stops behind this step; ``summed`` are the wishes of all processes, added up."""
        if self._alone:
            return self._control.reason is not None
        self._sums.append(arriving(summed))
        if len(self._sums) <= self._lag:
            return False
        interrupts, ends = self._sums.popleft().values()
        if not interrupts and not ends:
            return False
        self._control.agree(interrupted=bool(interrupts))
        return True
