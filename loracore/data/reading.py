"""What the folders and lists of one subset hold, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracore.config.options import DataOptions
from loracore.data import scan_messages as said
from loracore.data.index import Rows
from loracore.data.lists.metadata_file import read_metadata
from loracore.data.mask_files import MatchedMasks, match_masks
from loracore.data.pictures.face_crop import face_of
from loracore.data.pictures.image_files import readable_suffixes
from loracore.data.places import tables_folder
from loracore.data.sources import Listed, Source
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
    rows: Rows  # of its table: pictures whose size is known, and that of their masks
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    bad: tuple[Problem, ...] = ()  # pictures that cannot be used, one each


def read_source(reading: Reading, place: tuple[int, int], subset: SubsetSpec) -> ReadSource:
    """Return the pictures of the subset at ``place`` (data set, subset), and everything that is wrong with them."""
    suffixes = readable_suffixes()
    try:
        table, listed, problems = _table(subset, suffixes, reading)
    except OSError as error:
        return _unread((said.no_folder(subset, error), *_mask_folder_problems(subset)))
    except DataError as error:
        return _unread((*error.problems, *_mask_folder_problems(subset)))
    if not len(table.names):
        empty = () if problems else (said.no_pictures(subset, table),)
        return _unread((*problems, *empty, *_mask_folder_problems(subset)))
    try:
        masks = match_masks(subset, table, suffixes, reading.keep)
    except OSError as error:
        masks = None
        problems = (*problems, said.no_mask_folder(subset, error))
    source = Source(*place, subset, table, listed, None if masks is None else masks.masks)
    problems = (*problems, *_caption_problems(source), *_face_problems(source))
    if masks is not None:
        problems = (*problems, *_mask_problems(source, masks))
    return _usable(source, problems, () if masks is None else tuple(said.shared_masks(source, masks.shared)))


def _unread(problems: tuple[Problem, ...]) -> ReadSource:
    return ReadSource(None, np.empty(0, dtype=np.int64), problems=problems)


def _usable(source: Source, problems: tuple[Problem, ...], warnings: tuple[str, ...]) -> ReadSource:
    """Return a source with the rows whose pictures, and masks where there are any, have whole headers."""
    whole = (source.table.sizes > 0).all(axis=1)
    bad = [said.unreadable(source, int(row)) for row in np.flatnonzero(~whole)]
    if source.masks is not None:
        masked = source.masks.rows >= 0
        torn = masked & whole
        torn[masked] &= (source.masks.table.sizes[source.masks.rows[masked]] == 0).any(axis=1)
        bad += [said.unreadable_mask(source, int(row)) for row in np.flatnonzero(torn)]
        whole &= ~torn
    rows = np.flatnonzero(whole)
    return ReadSource(source, rows, (*said.notes(source, rows), *warnings), problems, tuple(bad))


def _table(
    subset: SubsetSpec, suffixes: Collection[str], reading: Reading
) -> tuple[PictureTable, Listed | None, tuple[Problem, ...]]:
    """Return the subset's pictures, and what is wrong with the list that names them."""
    if subset.metadata_file is None:
        assert subset.image_dir is not None
        return scan_folder(subset.image_dir, subset.caption_extension, suffixes, reading.keep), None, ()
    found = read_metadata(subset.metadata_file, subset.image_dir, subset.place, suffixes)
    listed = Listed(TextColumn.from_texts(found.captions), TextColumn.from_texts(found.tags))
    table = scan_list([Path(path) for path in found.paths], reading.keep, subset.metadata_file)
    return table, listed, found.problems


def _mask_folder_problems(subset: SubsetSpec) -> tuple[Problem, ...]:
    """Return the problem of a conditioning_data_dir that cannot be listed, if it is one."""
    folder = subset.conditioning_data_dir
    try:
        if folder is not None:
            next(folder.iterdir(), None)
    except OSError as error:
        return (said.no_mask_folder(subset, error),)
    return ()


def _caption_problems(source: Source) -> Iterator[Problem]:
    states = source.table.caption_states
    for state in (CaptionState.NOT_TEXT, CaptionState.UNREADABLE):
        for row in np.flatnonzero(states == state):
            yield said.unreadable_caption(source, int(row))


def _mask_problems(source: Source, matched: MatchedMasks) -> Iterator[Problem]:
    """Give every picture with no mask or several, and every mask of another size than its picture."""
    masks, sizes = matched.masks, source.table.sizes
    for row in np.flatnonzero((masks.rows < 0) & (sizes > 0).all(axis=1)).tolist():
        rivals = matched.rivals.get(row)
        yield said.several_masks(source, row, rivals) if rivals else said.no_mask(source, row)
    masked = np.flatnonzero(masks.rows >= 0)
    own, other = sizes[masked], masks.table.sizes[masks.rows[masked]]
    known = (own > 0).all(axis=1) & (other > 0).all(axis=1)
    for row in masked[known & (own != other).any(axis=1)]:
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
