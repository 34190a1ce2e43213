"""What a scan says of folders, pictures, captions and masks: problems that stop a run, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracore.data.pictures.headers import read_size
from loracore.data.sources import Source
from loracore.data.tables.picture_table import CaptionState, PictureTable
from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec, SubsetSpec

_SHOWN = 5  # names in a message that could hold thousands


def no_folder(subset: SubsetSpec, error: OSError) -> Problem:
    """Return the problem of a folder or list that cannot be read."""
    kind = "folder" if subset.metadata_file is None else "file"
    if isinstance(error, FileNotFoundError):
        message = f"the {kind} '{subset.source}' does not exist"
        return Problem(message, subset.place, "relative paths start at the working directory")
    return Problem(f"the {kind} '{subset.source}' cannot be read: {error.strerror}", subset.place)


def no_pictures(subset: SubsetSpec, table: PictureTable) -> Problem:
    """Return the problem of a subset without a picture."""
    if subset.metadata_file is not None:
        return Problem(f"'{subset.metadata_file}' lists no pictures", subset.place)
    fix = "pictures are looked for in the folder itself, not in sub-folders"
    if table.unread:
        fix += f"; {', '.join(sorted(table.unread))} cannot be read here"
    return Problem(f"the folder '{subset.image_dir}' holds no pictures", subset.place, fix)


def unreadable(source: Source, row: int) -> Problem:
    """Return why nothing is known of a picture: it is missing, or its header cannot be read."""
    path = source.path(row)
    try:
        read_size(path)
    except DataError as error:
        return error.problems[0]
    except OSError as error:
        return Problem(f"the picture cannot be read: {error.strerror}", str(path), "repair or remove it")
    return Problem("the picture could not be read when it was looked at first", str(path), "start again")


def unreadable_caption(source: Source, row: int) -> Problem:
    """Return the problem of a caption file that cannot be read or is no text."""
    path = source.table.caption_path(row)
    try:
        path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the caption is not UTF-8 text (byte {error.start + 1})"
        return Problem(message, str(path), "save the file as UTF-8")
    except OSError as error:
        return Problem(f"the caption cannot be read: {error.strerror}", str(path))
    return Problem("the caption could not be read when it was looked at first", str(path), "start again")


def too_thin(source: Source, row: int, dataset: DatasetSpec) -> Problem:
    """Return the problem of a picture that no bucket can hold."""
    width, height = source.table.sizes[row].tolist()
    message = f"the picture ({width}x{height}) is thinner than one bucket step ({dataset.bucket_reso_steps})"
    fix = "remove it, or leave out bucket_no_upscale so that it is enlarged"
    return Problem(message, str(source.path(row)), fix)


def no_mask(source: Source, row: int) -> Problem:
    """Return the problem of a picture that conditioning_data_dir has no mask for."""
    path = source.path(row)
    fix = f"add a picture called {path.stem} to it, white where the loss counts"
    return Problem(f"there is no mask for it in {source.subset.conditioning_data_dir}", str(path), fix)


def other_mask(source: Source, row: int) -> Problem:
    """Return the problem of a mask whose size is not its picture's."""
    assert source.masks is not None
    width, height = source.table.sizes[row].tolist()
    own_width, own_height = source.masks.table.sizes[source.masks.rows[row]].tolist()
    message = f"the mask is {own_width}x{own_height}, its picture {width}x{height}"
    return Problem(message, str(source.mask(row)), "masks have the size of their pictures")


def notes(source: Source) -> Iterator[str]:
    """Give what a user should know of a subset that can be trained on."""
    table, name = source.table, source.subset.source
    rows = range(len(table.names))
    without = [row for row in rows if not source.has_caption(row)] if source.listed else _no_caption_rows(table)
    if len(without):
        yield _without_caption(source, without)
    empty = _blank_rows(source)
    if empty:
        yield f"{name}: the caption is empty for {some([table.names[row] for row in empty])}"
    if table.unread:
        pictures, kinds = counted(sum(table.unread.values()), "picture"), ", ".join(sorted(table.unread))
        yield f"{name}: {pictures} of other formats cannot be read here: {kinds}"
    if table.animated.any():
        moving = [table.names[int(row)] for row in np.flatnonzero(table.animated)]
        yield f"{name}: {len(moving)} pictures are animated, their first frame is trained: {some(moving)}"
    if table.double_captions:
        pictures = counted(len(table.double_captions), "picture")
        yield (
            f"{name}: {pictures} with two captions, .txt and .caption, that differ; "
            f"{source.subset.caption_extension} is used: {some(table.double_captions)}"
        )
    if source.masks is not None:
        spare = len(source.masks.table.names) - len(set(source.masks.rows[source.masks.rows >= 0].tolist()))
        if spare:
            yield f"{source.masks.folder}: {counted(spare, 'mask')} without a picture in {name}"
    if table.note:
        yield table.note


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 picture``, ``2 pictures``, ``1 batch``, ``2 batches``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('tch') else 's'}"


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _no_caption_rows(table: PictureTable) -> list[int]:
    found: list[int] = np.flatnonzero(table.caption_states == CaptionState.NONE).tolist()
    return found


def _blank_rows(source: Source) -> list[int]:
    """Return the pictures whose caption is there, and says nothing."""
    table = source.table
    if source.listed is not None:
        return []
    read = np.flatnonzero(table.caption_states == CaptionState.READ)
    if not len(read) or not len(table.captions.blob):
        return [int(row) for row in read]
    starts, ends = (table.captions.offsets[read + step].astype(np.int64) for step in (0, 1))
    first = table.captions.blob[np.minimum(starts, len(table.captions.blob) - 1)]
    candidates = read[(starts == ends) | (first <= ord(" "))]  # a blank line comes first, or nothing at all
    return [int(row) for row in candidates if not source.caption(int(row)).strip()]


def _without_caption(source: Source, rows: Sequence[int]) -> str:
    subset, table = source.subset, source.table
    names = [Path(table.names[row]).name for row in rows[:_SHOWN]] + [""] * max(0, len(rows) - _SHOWN)
    instead = f"class_tokens '{subset.class_tokens}'" if subset.class_tokens else "an empty caption"
    kind = f"caption file ({subset.caption_extension})" if source.listed is None else "caption in the list"
    said = (
        f"{subset.source}: {len(rows)} of {len(table.names)} pictures have no {kind} and take {instead}: {some(names)}"
    )
    if table.text_files and subset.caption_extension != ".txt":
        return f'{said}; {table.text_files} have a .txt file: set caption_extension = ".txt" to use it'
    return said
