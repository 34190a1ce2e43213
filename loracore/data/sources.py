"""One subset of a data set with the table of its pictures: where each is, what its caption says, where its mask is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loracore.config.dataset_spec import SubsetSpec
from loracore.data.captions.texts import caption_text
from loracore.data.lists.metadata_file import entry_caption
from loracore.data.tables.columns import TextColumn
from loracore.data.tables.picture_table import CaptionState, PictureTable


@dataclass(frozen=True, eq=False, slots=True)
class Masks:
    """The pictures of conditioning_data_dir that go with the pictures of a table."""

    folder: Path
    table: PictureTable
    rows: NDArray[np.int64]  # for each picture the row of its mask in ``table``; -1: there is none


@dataclass(frozen=True, eq=False, slots=True)
class Listed:
    """What metadata_file says of the pictures of a table, row by row."""

    captions: TextColumn  # "": none
    tags: TextColumn  # "": none


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """One subset and its pictures; ``row`` is always a row of its table."""

    dataset: int
    number: int  # of the subset in its data set
    subset: SubsetSpec
    table: PictureTable
    listed: Listed | None = None
    masks: Masks | None = None

    def path(self, row: int) -> Path:
        folder = self.subset.image_dir
        name = self.table.names[row]
        return Path(name) if self.listed is not None or folder is None else folder / name

    def has_caption(self, row: int) -> bool:
        """Tell whether somebody wrote a caption for this picture."""
        if self.listed is not None:
            return bool(self.listed.captions[row] or self.listed.tags[row])
        return bool(self.table.caption_states[row] == CaptionState.READ)

    def caption(self, row: int) -> str:
        """Return the caption as its file says it, class_tokens where there is none, or nothing."""
        rules = self.subset.captions
        if self.listed is not None:
            listed = entry_caption(self.listed.captions[row], self.listed.tags[row], rules)
            return listed or self.subset.class_tokens or ""
        if self.has_caption(row):
            return caption_text(self.table.captions[row], rules)
        return self.subset.class_tokens or ""

    def mask(self, row: int) -> Path | None:
        """Return the picture that masks this one."""
        if self.masks is None or self.masks.rows[row] < 0:
            return None
        return self.masks.table.path(int(self.masks.rows[row]))
