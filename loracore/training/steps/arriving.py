"""Numbers of the device on their way to the host, so that nobody waits for them before they are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Arriving:
    """A copy that has been asked for; reading it waits for it alone."""

    numbers: Tensor  # in host memory; there when the event has come
    arrived: torch.Event | None  # None: the device is the host

    def values(self) -> list[float]:
        """Return the numbers, waiting for them."""
        if self.arrived is not None:
            self.arrived.synchronize()
        found: list[float] = self.numbers.tolist()
        return found


def arriving(numbers: Tensor) -> Arriving:
    """Ask for a copy of a vector in host memory now, behind what the device has been given and before what comes.

    Asked for when it is read, it would wait for all that the device has been given since.
    """
    if numbers.device.type == "cpu":
        return Arriving(numbers, None)
    copied, arrived = numbers.to("cpu", non_blocking=True), torch.Event(numbers.device)
    arrived.record()
    return Arriving(copied, arrived)
