"""Which text file is a picture's caption, and what it says."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loracore.data.captions.texts import caption_stems
from loracore.data.pictures.headers import READ_FLAGS
from loracore.data.tables.columns import TextColumn, offsets_of
from loracore.data.tables.folder_listing import TEXTS, Files, last_suffix
from loracore.data.tables.picture_table import CaptionState

_MARK = b"\xef\xbb\xbf"  # byte order mark
_BLOCK = 1 << 16


@dataclass(frozen=True, eq=False, slots=True)
class CaptionFiles:
    """The caption files of pictures, by the pictures' rows."""

    names: Sequence[str]  # of all text files with the captions' extension
    rows: NDArray[np.int64]  # which of them; -1: none
    stems: NDArray[np.uint8]  # which of the picture's caption_stems it is
    modified: NDArray[np.int64]  # ns since 1970; 0 for none
    lengths: NDArray[np.int64]  # bytes; 0 for none
    rivals: Sequence[tuple[int, str]]  # row, the other text file that has the picture's name
    text_files: int  # pictures without caption that have a .txt file, where captions have another extension


def no_captions(pictures: int) -> CaptionFiles:
    """Return what is found where captions are not looked for."""
    none = np.zeros(pictures, np.int64)
    return CaptionFiles((), none - 1, none.astype(np.uint8), none, none, (), 0)


def match_captions(pictures: Sequence[str], extension: str, texts: Mapping[str, Files]) -> CaptionFiles:
    """Find each picture's caption among the texts of its folder: its own name first, then the one it shares."""
    files = texts[last_suffix(extension)]
    names = files.names
    where = {name: row for row, name in enumerate(names)}
    rows, stems = array("q"), bytearray()
    for picture in pictures:
        stem = picture[: picture.rfind(".")]
        row, which = where.get(stem + extension, -1), 0
        if row < 0 and "_" in stem:
            candidates = [where.get(shorter + extension, -1) for shorter in caption_stems(stem)]
            which = next((place for place, candidate in enumerate(candidates) if candidate >= 0), 0)
            row = candidates[which]
        rows.append(row)
        stems.append(which)
    del where
    found = np.array(rows, dtype=np.int64)
    rivals, text_files = _beside(pictures, extension, texts, found)
    modified, lengths = (np.append(column, 0)[found] for column in (files.modified, files.lengths))  # -1: the 0
    return CaptionFiles(names, found, np.frombuffer(stems, np.uint8), modified, lengths, rivals, text_files)


def _beside(
    pictures: Sequence[str], extension: str, texts: Mapping[str, Files], rows: NDArray[np.int64]
) -> tuple[Sequence[tuple[int, str]], int]:
    """Return the pictures whose names a text of the other usual extension has, too, and how many have it alone."""
    other = ".caption" if extension == ".txt" else ".txt"
    others = frozenset(texts[other].names)
    if not others:
        return (), 0
    found = [(row, name[: name.rfind(".")] + other) for row, name in enumerate(pictures)]
    beside = [(row, name) for row, name in found if name in others]
    alone = sum(1 for row, _ in beside if rows[row] < 0) if other == ".txt" else 0
    return ([(row, name) for row, name in beside if rows[row] >= 0] if extension in TEXTS else ()), alone


def read_captions(paths: Iterable[str], lengths: Iterable[int]) -> tuple[TextColumn, NDArray[np.uint8]]:
    """Return the text and the state of each caption file; ``lengths`` are what the files are expected to have."""
    blob, ends, states = bytearray(), array("q"), bytearray()
    for path, length in zip(paths, lengths, strict=True):
        text, state = read_caption(path, length)
        blob += text
        ends.append(len(text))
        states.append(state)
    column = TextColumn(np.frombuffer(blob, np.uint8), offsets_of(np.array(ends, dtype=np.int64)))
    return column, np.frombuffer(states, np.uint8)


def read_caption(path: str, length: int) -> tuple[bytes, CaptionState]:
    """Return what a caption file says, as UTF-8 without byte order mark; empty if it cannot be read."""
    try:
        text = _read(path, length)
    except OSError:
        return b"", CaptionState.UNREADABLE
    text = text.removeprefix(_MARK)
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            return b"", CaptionState.NOT_TEXT
    return text, CaptionState.READ


def two_captions(prefix: str, files: CaptionFiles, captions: TextColumn) -> NDArray[np.bool_]:
    """Tell which pictures have two text files that do not say the same; ``prefix`` stands before the names."""
    differ = np.zeros(len(captions), np.bool_)
    for row, rival in files.rivals:
        text, state = read_caption(prefix + rival, 0)
        differ[row] = state == CaptionState.READ and text.decode("utf-8").strip() != captions[row].strip()
    return differ


def _read(path: str, length: int) -> bytes:
    file = os.open(path, READ_FLAGS)
    try:
        text = os.read(file, length + 1)
        if len(text) == length:  # one byte more was asked for: this is the end
            return text
        parts = [text]
        while part := os.read(file, _BLOCK):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(file)
