"""The alpha of a module of a network's file."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from loracore.errors import DataError
from loracore.networks.spellings import ALPHA


def alpha_of(tensors: Mapping[str, Tensor]) -> float | None:
    """Return a module's alpha; None where the file gives none. Raises DataError when it is no single number."""
    if ALPHA not in tensors:
        return None
    if tensors[ALPHA].numel() != 1:
        message = f"{ALPHA} has shape {list(tensors[ALPHA].shape)}, not a single number: the file is damaged"
        raise DataError(message, fix="download it again, or give another file")
    return float(tensors[ALPHA].item())
