"""Losses read from the device a few steps late, so that no step waits for them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from torch import Tensor

from loracore.errors import LoracoreError

LAG = 4  # steps between a loss and its reading
BAD_IN_A_ROW = 20  # as many non-finite steps end the run


@dataclass(frozen=True, eq=False, slots=True)
class _Pending:
    step: int
    loss: Tensor
    bad: Tensor


class History:
    """The moving average of the loss over one epoch, and the steps that were skipped."""

    def __init__(self, window: int, lag: int = LAG) -> None:
        self._lag = lag
        self._pending: deque[_Pending] = deque()
        self._losses: deque[float] = deque(maxlen=max(1, window))
        self._in_a_row = 0
        self.skipped = 0
        self.losses: list[float] = []  # every read loss, in the order of the steps

    def push(self, step: int, loss: Tensor, bad: Tensor) -> None:
        """Remember a step's loss and whether it was bad; read the one that is ``lag`` steps old."""
        self._pending.append(_Pending(step, loss, bad))
        if len(self._pending) > self._lag:
            self._read(self._pending.popleft())

    def settle(self) -> None:
        """Read everything: what is saved afterwards rests on steps that are known."""
        while self._pending:
            self._read(self._pending.popleft())

    @property
    def average(self) -> float | None:
        """The mean loss over the last epoch's worth of read steps; None before the first."""
        return sum(self._losses) / len(self._losses) if self._losses else None

    def _read(self, pending: _Pending) -> None:
        loss, bad = float(pending.loss.item()), bool(pending.bad.item())
        self.losses.append(loss)
        if not bad:
            self._losses.append(loss)
            self._in_a_row = 0
            return
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row >= BAD_IN_A_ROW:
            message = f"loss or gradient not finite for {BAD_IN_A_ROW} steps in a row, up to step {pending.step}"
            raise LoracoreError(message, fix="lower learning_rate, or use mixed_precision bf16; nothing bad was saved")
