"""How much memory a run has taken so far."""

from __future__ import annotations

import psutil
import torch


def memory_used(device: torch.device) -> float:
    """Return GB: the most that tensors took on the card, or this process's memory on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return float(psutil.Process().memory_info().rss) / 1e9
