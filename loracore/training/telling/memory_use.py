"""How much memory a run has taken so far."""

from __future__ import annotations

import torch


class MemoryUse:
    """The memory of a run on its device; asked for in every step, so that what looks it up is made once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type != "cuda":
            import psutil

            self._process = psutil.Process()

    def gigabytes(self) -> float:
        """Return GB: the most that tensors took on the card, or this process's memory on the CPU."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e9
        return float(self._process.memory_info().rss) / 1e9
