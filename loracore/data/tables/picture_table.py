"""The pictures of one folder as columns: a picture is a row, and costs its bytes and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from loracore.data.captions.texts import caption_stems
from loracore.data.tables.columns import TextColumn

#: Bytes of a picture's digest.
DIGEST = 16


class CaptionState(IntEnum):
    """What came of looking for the file of a picture's caption."""

    NONE = 0  # there is none
    READ = 1
    NOT_TEXT = 2  # it is not UTF-8
    UNREADABLE = 3


class Decoded(IntEnum):
    """Whether a picture's pixels have been seen to be whole."""

    UNKNOWN = 0
    WHOLE = 1
    BROKEN = 2


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a table comes from, and what tells whether it still holds."""

    place: str  # absolute path of the folder, or of the list that names the pictures
    caption_extension: str  # "": captions are not looked for
    fingerprint: str  # of all names, times and lengths that were listed
    scanned: int  # ns since 1970, before anything was listed


@dataclass(frozen=True, eq=False, slots=True)
class PictureTable:
    """Pictures by row, sorted by name; of a list, in its order. The arrays may lie in a mapped file: do not write.

    A size of (0, 0) says that the header cannot be read: ``headers.read_size`` tells why.
    """

    origin: Origin
    folder: Path | None  # as it was given; None: the names are whole paths
    names: TextColumn
    captions: TextColumn  # whole files, without byte order mark; empty where the state is not READ
    caption_states: NDArray[np.uint8]  # CaptionState
    caption_stems: NDArray[np.uint8]  # which of captions.caption_stems the caption's file has
    sizes: NDArray[np.uint32]  # rows, 2: width, height as seen
    modified: NDArray[np.int64]  # ns since 1970
    lengths: NDArray[np.int64]  # bytes
    caption_modified: NDArray[np.int64]
    caption_lengths: NDArray[np.int64]
    animated: NDArray[np.bool_]
    two_captions: NDArray[np.bool_]  # a .txt and a .caption file with different text
    decoded: NDArray[np.uint8]  # Decoded
    has_digest: NDArray[np.bool_]
    digests: NDArray[np.uint8]  # rows, DIGEST: BLAKE2b of the file
    unread: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # extension → files, not rows
    text_files: int = 0  # pictures without caption that have a .txt file, where captions have another extension
    note: str = ""  # what a user should know about how the table was kept

    def __len__(self) -> int:
        return len(self.names)

    def path(self, row: int) -> Path:
        """Return the picture of a row."""
        return Path(self.names[row]) if self.folder is None else self.folder / self.names[row]

    def caption_path(self, row: int) -> Path:
        """Return the file of a row's caption, which has one."""
        path = self.path(row)
        return path.with_name(caption_stems(path.stem)[self.caption_stems[row]] + self.origin.caption_extension)

    @property
    def foreign(self) -> Mapping[str, int]:
        """Return how many pictures of other formats there are, by extension; such are written in small letters."""
        return {suffix: count for suffix, count in self.unread.items() if suffix == suffix.lower()}

    @property
    def shouted(self) -> Mapping[str, int]:
        """Return how many texts have the captions' extension in other letters (``.TXT``), by that extension."""
        own = self.origin.caption_extension
        return {suffix: count for suffix, count in self.unread.items() if suffix != own and suffix.lower() == own}

    @property
    def double_captions(self) -> tuple[str, ...]:
        """Return the names of pictures that have a ``.txt`` and a ``.caption`` file with different text."""
        return tuple(self.names[int(row)] for row in np.flatnonzero(self.two_captions))
