"""Dynamic loss scaling for fp16: small gradients survive, overflows are skipped; the host never waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

FIRST = 65536.0
GOOD_STEPS = 2000  # good steps before the scale doubles


class LossScale:
    """The factor on the loss, on the device (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2)."""

    def __init__(self, device: torch.device) -> None:
        self._scale = torch.tensor(FIRST, device=device)
        self._good = torch.zeros((), device=device)

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss times the scale."""
        return loss * self._scale

    def unscale(self, gradients: Iterable[Tensor]) -> None:
        """Divide gradients by the scale, in place."""
        for gradient in gradients:
            gradient.div_(self._scale)

    def update(self, bad: Tensor) -> None:
        """Halve the scale after a bad step, double it after enough good ones in a row."""
        self._good = (self._good + 1) * (1 - bad)
        full = self._good >= GOOD_STEPS
        self._scale = torch.where(bad.bool(), self._scale / 2, torch.where(full, self._scale * 2, self._scale))
        self._good = torch.where(full, torch.zeros_like(self._good), self._good)

    def state(self) -> dict[str, Any]:
        """Return the scale and how many good steps it has seen in a row, in host memory."""
        return {"scale": self._scale.to("cpu", copy=True), "good": self._good.to("cpu", copy=True)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._scale = state["scale"].to(self._scale.device, copy=True)
        self._good = state["good"].to(self._good.device, copy=True)
