"""Encoded pictures and captions kept in memory, each stored once and read back row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch.nn import functional

from loracore.types import Latents, TextConditioning


class LatentCache:
    """Latents by row of the index, as mean and log-variance on the CPU."""

    def __init__(self, latents: Mapping[int, Latents]) -> None:
        self._latents = dict(latents)

    def batch(self, rows: Sequence[int]) -> Latents:
        """Return the latents of some rows, which must share a size: B,C,h,w."""
        found = [self._latents[row] for row in rows]
        return Latents(
            torch.stack([one.mean for one in found]),
            torch.stack([one.log_variance for one in found]),
        )


class TextCache:
    """What the text encoders said of each distinct caption, on the CPU."""

    def __init__(self, conditionings: Mapping[str, TextConditioning]) -> None:
        self._conditionings = dict(conditionings)

    def batch(self, captions: Iterable[str]) -> TextConditioning:
        """Return the conditioning of some captions; shorter sequences are filled up with zeros."""
        found = [self._conditionings[caption] for caption in captions]
        names = found[0].tensors
        return TextConditioning({name: _stacked([one[name] for one in found]) for name in names})


def _stacked(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return rows of (T, F) or (F) as one tensor with B in front."""
    longest = max(row.shape[0] for row in rows)
    filled = [functional.pad(row, (0, 0) * (row.dim() - 1) + (0, longest - row.shape[0])) for row in rows]
    return torch.stack(filled)
