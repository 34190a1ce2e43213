"""How many pictures are brought to their training sizes: columns, one row for each size that occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loracore.types import Framing

#: Sizes or places, (n, 2): width and height, or left and top, in pixels.
Pairs = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Framings:
    """Framings as columns; a row whose ``sizes`` hold a 0 is of a picture thinner than one step."""

    originals: Pairs
    resized: Pairs
    crops: Pairs
    sizes: Pairs

    def __len__(self) -> int:
        return len(self.originals)

    def __getitem__(self, row: int) -> Framing:
        return Framing(
            _pair(self.originals, row), _pair(self.resized, row), _pair(self.crops, row), _pair(self.sizes, row)
        )

    @property
    def fits(self) -> NDArray[np.bool_]:
        """Tell for each row whether there is anything to train on."""
        return np.asarray((self.sizes > 0).all(axis=1))

    def take(self, rows: NDArray[np.integer] | slice) -> Framings:
        """Return some rows."""
        return Framings(self.originals[rows], self.resized[rows], self.crops[rows], self.sizes[rows])


def central(originals: Pairs, resized: Pairs, sizes: Pairs) -> Framings:
    """Return framings whose cut leaves ``floor((resized - size) / 2)`` pixels away at the left and at the top."""
    return Framings(originals, resized, (resized - sizes) // 2, sizes)


def joined(several: Sequence[Framings]) -> Framings:
    """Return all rows one after the other."""
    if not several:
        empty = np.empty((0, 2), dtype=np.int64)
        return Framings(empty, empty, empty, empty)
    return Framings(
        np.concatenate([one.originals for one in several]),
        np.concatenate([one.resized for one in several]),
        np.concatenate([one.crops for one in several]),
        np.concatenate([one.sizes for one in several]),
    )


def _pair(column: Pairs, row: int) -> tuple[int, int]:
    return int(column[row, 0]), int(column[row, 1])
