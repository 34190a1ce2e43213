"""What the folders and lists of one subset hold, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracore.config.options import DataOptions
from loracore.data import scan_messages as said
from loracore.data.index import Rows
from loracore.data.lists.metadata_file import read_metadata
from loracore.data.pictures.face_crop import face_of
from loracore.data.pictures.image_files import readable_suffixes
from loracore.data.places import tables_folder
from loracore.data.sources import Listed, Masks, Source
from loracore.data.tables.columns import TextColumn
from loracore.data.tables.folder_table import scan_folder, scan_list
from loracore.data.tables.picture_table import CaptionState, PictureTable
from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from loracore.config.config import Config
    from loracore.config.dataset_spec import SubsetSpec


@dataclass(frozen=True, slots=True)
class Reading:
    """How data sets are read."""

    keep: Path | None = None  # folder of what is known from earlier scans; None: nothing is kept
    seed: int = 0  # of validation splits that name none
    skip_bad: bool = False  # pictures that cannot be used are left out, not an error


def reading_of(config: Config, seed: int) -> Reading:
    """Return how a run reads its data sets."""
    return Reading(tables_folder(config), seed, config[DataOptions].on_bad_image == "skip")


@dataclass(frozen=True, eq=False, slots=True)
class ReadSource:
    """What came of one subset."""

    source: Source | None  # None: nothing of it can be used
    rows: Rows  # of its table: pictures whose size is known
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    bad: tuple[Problem, ...] = ()  # pictures that cannot be used, one each


def read_source(reading: Reading, place: tuple[int, int], subset: SubsetSpec) -> ReadSource:
    """Return the pictures of the subset at ``place`` (data set, subset)."""
    nothing = np.empty(0, dtype=np.int64)
    try:
        table, listed = _table(subset, reading)
        if not len(table.names):
            return ReadSource(None, nothing, problems=(said.no_pictures(subset, table),))
        source = Source(*place, subset, table, listed, _masks(subset, table, reading))
    except OSError as error:
        return ReadSource(None, nothing, problems=(said.no_folder(subset, error),))
    except DataError as error:
        return ReadSource(None, nothing, problems=error.problems)
    whole = (table.sizes > 0).all(axis=1)
    bad = [said.unreadable(source, int(row)) for row in np.flatnonzero(~whole)]
    rows = np.flatnonzero(whole)
    problems = (*_caption_problems(source), *_mask_problems(source, rows), *_face_problems(source))
    return ReadSource(source, rows, tuple(said.notes(source)), problems, tuple(bad))


def _table(subset: SubsetSpec, reading: Reading) -> tuple[PictureTable, Listed | None]:
    suffixes = readable_suffixes()
    if subset.metadata_file is None:
        assert subset.image_dir is not None
        return scan_folder(subset.image_dir, subset.caption_extension, suffixes, reading.keep), None
    listed = read_metadata(subset.metadata_file, subset.image_dir, subset.place, suffixes)
    said_of = Listed(TextColumn.from_texts(listed.captions), TextColumn.from_texts(listed.tags))
    return scan_list([Path(path) for path in listed.paths], reading.keep, subset.metadata_file), said_of


def _masks(subset: SubsetSpec, table: PictureTable, reading: Reading) -> Masks | None:
    """Return the masks of conditioning_data_dir, found by name without extension. Raises DataError without a folder."""
    folder = subset.conditioning_data_dir
    if folder is None:
        return None
    try:
        masks = scan_folder(folder, "", readable_suffixes(), reading.keep)
    except OSError as error:
        raise DataError.of([said.no_folder(replace(subset, image_dir=folder), error)]) from error
    by_stem = {Path(masks.names[row]).stem: row for row in range(len(masks.names))}
    stems = (Path(table.names[row]).stem for row in range(len(table.names)))
    return Masks(folder, masks, np.array([by_stem.get(stem, -1) for stem in stems], dtype=np.int64))


def _caption_problems(source: Source) -> Iterator[Problem]:
    states = source.table.caption_states
    for state in (CaptionState.NOT_TEXT, CaptionState.UNREADABLE):
        for row in np.flatnonzero(states == state):
            yield said.unreadable_caption(source, int(row))


def _mask_problems(source: Source, rows: Rows) -> Iterator[Problem]:
    """Give every picture without a mask, and every mask of another size than its picture."""
    masks = source.masks
    if masks is None:
        return
    for row in rows[masks.rows[rows] < 0]:
        yield said.no_mask(source, int(row))
    masked = rows[masks.rows[rows] >= 0]
    own, other = source.table.sizes[masked], masks.table.sizes[masks.rows[masked]]
    for row in masked[(own != other).any(axis=1)]:
        yield said.other_mask(source, int(row))


def _face_problems(source: Source) -> Iterator[Problem]:
    """Give every name that says where a face is, and says it wrongly."""
    if source.subset.augmentations.face_crop_aug_range is None:
        return
    for row in range(len(source.table.names)):
        path = source.path(row)
        try:
            face_of(path.stem, str(path))
        except DataError as error:
            yield from error.problems
