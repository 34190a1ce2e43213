"""Randomness drawn sample by sample, so that it does not depend on how samples are spread over batches or processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from loracore.types import sent

__all__ = ["SampleRng", "derive_seed", "hashed_uniform", "sent"]


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else (BLAKE2b of their text)."""
    text = "/".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class SampleRng:
    """Random tensors (B, …) drawn on the CPU, whatever the device, each row from its sample's own generator.

    A row depends on (seed, stream, epoch, position in the epoch's global order) alone: one process with batch 4 draws
    what two with batch 2 draw, and step N draws the same after a resume. Each call continues the rows' sequences.
    """

    def __init__(self, seed: int, stream: str, epoch: int, positions: Sequence[int]) -> None:
        self._generators = [
            torch.Generator().manual_seed(derive_seed(seed, stream, epoch, position)) for position in positions
        ]

    def normal(self, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Return standard normal numbers of B,*shape."""
        return sent(torch.stack([torch.randn(shape, generator=generator) for generator in self._generators]), device)

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1) of B,*shape."""
        return torch.stack([torch.rand(shape, generator=generator) for generator in self._generators])

    def integers(self, low: int, high: int, device: torch.device | str = "cpu") -> Tensor:
        """Return one integer in [low, high) for each sample (B), int64."""
        drawn = torch.cat([torch.randint(low, high, (1,), generator=generator) for generator in self._generators])
        return sent(drawn, device)

    def normals(self, counts: Sequence[int]) -> list[Tensor]:
        """Return standard normal numbers of each sample by itself: ``counts`` (B) of them, not the same for all."""
        pairs = zip(counts, self._generators, strict=True)
        return [torch.randn(count, generator=generator) for count, generator in pairs]


def hashed_uniform(seeds: Tensor, count: int) -> Tensor:
    """Return uniform numbers in [0, 1) of (B, count), on the seeds' device; each row depends on its seed alone.

    ``seeds`` (B) are integers in [0, 2³²). A counter is hashed, so that large masks need no generator on the host: two
    rounds of a 32-bit integer hash (C. Wellons, "lowbias32", 2018) over counter · 2³²/φ + seed.
    """
    counter = torch.arange(count, device=seeds.device)
    mixed = _hash32(_hash32(seeds[:, None] + counter * _GOLDEN & _LOW) + counter & _LOW)
    return mixed.float().div_(2**32).clamp_(max=_BELOW_ONE)


_LOW, _GOLDEN = 0xFFFFFFFF, 0x9E3779B9
_BELOW_ONE = 1 - 2**-24  # float32 rounds the largest integers up to 1


def _hash32(numbers: Tensor) -> Tensor:
    """Return a bijective mix of 32-bit numbers held in int64; products may wrap, their low half is right."""
    mixed = (numbers ^ numbers >> 16) * 0x7FEB352D & _LOW
    mixed = (mixed ^ mixed >> 15) * 0x846CA68B & _LOW
    return mixed ^ mixed >> 16
