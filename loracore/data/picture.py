"""One training picture, and all of them: what a scan leaves for sampling, loading and telling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loracore.types import Framing


@dataclass(frozen=True, slots=True)
class Picture:
    """One training picture."""

    path: Path  # as the data set's folder was written, so possibly relative
    caption: str  # ready for the text encoders
    raw_caption: str  # without prefix and suffix
    framing: Framing
    repeats: int  # times an epoch
    dataset: int
    subset: int  # in its data set
    interpolation: str | None  # resize_interpolation; None chooses by enlarging or shrinking
    loss_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Index:
    """Every picture of a run, and what the user should know of them."""

    pictures: tuple[Picture, ...]  # by data set, subset and name
    warnings: tuple[str, ...]
