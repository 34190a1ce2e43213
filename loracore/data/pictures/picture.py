"""One training picture, as whoever loads it needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loracore.types import Framing

if TYPE_CHECKING:
    from loracore.config.dataset_spec import SubsetSpec


@dataclass(frozen=True, slots=True)
class Picture:
    """One training picture; made from the index when it is asked for, not kept."""

    row: int  # in the index
    path: Path  # as the data set's folder was written, so possibly relative
    caption: str  # as its file says it, before the subset's caption rules
    framing: Framing  # central cut, not flipped
    dataset: int
    subset: SubsetSpec
    mask: Path | None = None  # picture of conditioning_data_dir
