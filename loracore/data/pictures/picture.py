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
    subset_number: int = 0  # of the subset in its data set

    @property
    def name(self) -> str:
        """Return where the picture is inside its subset's folder; its whole path where it is not inside.

        It stays when the folder is moved, or written in another way.
        """
        folder = self.subset.image_dir
        if folder is None or not self.path.is_relative_to(folder):
            return self.path.as_posix()
        return self.path.relative_to(folder).as_posix()
