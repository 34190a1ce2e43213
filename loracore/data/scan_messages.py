"""What a scan says of folders, pictures, captions and masks: problems that stop a run, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracore.data.pictures.colour_modes import may_be_transparent
from loracore.data.pictures.face_crop import half_names_face
from loracore.data.pictures.headers import read_size
from loracore.data.sources import Source
from loracore.data.tables.picture_table import CaptionState, PictureTable
from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
    from loracore.data.index import Rows

_SHOWN = 5  # names in a message that could hold thousands


def no_folder(subset: SubsetSpec, error: OSError) -> Problem:
    """Return the problem of a folder or list that cannot be read."""
    kind = "folder" if subset.metadata_file is None else "file"
    if isinstance(error, FileNotFoundError):
        message = f"the {kind} '{subset.source}' does not exist"
        return Problem(message, subset.place, "relative paths start at the working directory")
    return Problem(f"the {kind} '{subset.source}' cannot be read: {error.strerror}", subset.place)


def no_mask_folder(subset: SubsetSpec, error: OSError) -> Problem:
    """Return the problem of a conditioning_data_dir that cannot be read."""
    return no_folder(replace(subset, image_dir=subset.conditioning_data_dir, metadata_file=None), error)


def no_pictures(subset: SubsetSpec, table: PictureTable) -> Problem:
    """Return the problem of a subset without a picture."""
    if subset.metadata_file is not None:
        return Problem(f"'{subset.metadata_file}' lists no pictures", subset.place)
    fix = "pictures are looked for in the folder itself, not in sub-folders"
    if table.foreign:
        fix += f"; {', '.join(sorted(table.foreign))} cannot be read here"
    return Problem(f"the folder '{subset.image_dir}' holds no pictures", subset.place, fix)


def bad_picture(path: Path, reason: str) -> Problem:
    """Return the problem of a picture that cannot be used; a run can be told to leave it out."""
    return Problem(reason, str(path), 'repair or remove it, or set on_bad_image = "skip"')


def nothing_left(held: int) -> Problem:
    """Return the problem of a run without pictures; ``held`` of them are held out."""
    fix = "hold out fewer: lower validation_split" if held else "name a folder of pictures as image_dir"
    return Problem("no picture is left to train on", fix=fix)


def unreadable(source: Source, row: int) -> Problem:
    """Return why nothing is known of a picture: it is missing, or its header cannot be read."""
    path = source.path(row)
    return bad_picture(path, _why_unreadable(path))


def unreadable_mask(source: Source, row: int) -> Problem:
    """Return why nothing is known of a picture's mask; the picture cannot be used without."""
    mask = source.mask(row)
    assert mask is not None
    return bad_picture(source.path(row), f"its mask {_why_unreadable(mask)}")


def _why_unreadable(path: Path) -> str:
    try:
        read_size(path)
    except DataError as error:
        return error.problems[0].message
    return "could not be read when it was looked at first"


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
    fix = 'remove it, leave out bucket_no_upscale so that it is enlarged, or set on_bad_image = "skip"'
    return Problem(message, str(source.path(row)), fix)


def no_mask(source: Source, row: int) -> Problem:
    """Return the problem of a picture that conditioning_data_dir has no mask for."""
    path = source.path(row)
    fix = f"add a picture called {path.stem} to it, white where the loss counts"
    return Problem(f"there is no mask for it in {source.subset.conditioning_data_dir}", str(path), fix)


def several_masks(source: Source, row: int, names: Sequence[str]) -> Problem:
    """Return the problem of a picture with masks that differ in their extensions alone."""
    message = f"there are {len(names)} masks for it in {source.subset.conditioning_data_dir}: {', '.join(names)}"
    return Problem(message, str(source.path(row)), "keep one of them")


def shared_masks(source: Source, shared: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give what is said of masks that several pictures have together."""
    if shared:
        groups = some([" and ".join(names) for names in shared])
        serve = f"{counted(len(shared), 'mask')} {'serves' if len(shared) == 1 else 'serve'}"
        yield f"{source.subset.conditioning_data_dir}: {serve} several pictures: {groups}"


def other_mask(source: Source, row: int) -> Problem:
    """Return the problem of a mask whose size is not its picture's."""
    assert source.masks is not None
    width, height = source.table.sizes[row].tolist()
    own_width, own_height = source.masks.table.sizes[source.masks.rows[row]].tolist()
    message = f"the mask is {own_width}x{own_height}, its picture {width}x{height}"
    return Problem(message, str(source.mask(row)), "masks have the size of their pictures")


def notes(source: Source, usable: Rows) -> Iterator[str]:
    """Give what a user should know of a subset that can be trained on; ``usable`` are its rows that can be used."""
    table, name = source.table, source.subset.source
    rows = range(len(table.names))
    without = [row for row in rows if not source.has_caption(row)] if source.listed else _no_caption_rows(table)
    if len(without):
        yield _without_caption(source, without)
    empty = _blank_rows(source)
    if empty:
        yield f"{name}: the caption is empty for {some([table.names[row] for row in empty])}"
    if table.foreign:
        pictures, kinds = counted(sum(table.foreign.values()), "picture"), ", ".join(sorted(table.foreign))
        yield f"{name}: {pictures} of other formats cannot be read here: {kinds}"
    if table.animated.any():
        moving = [table.names[int(row)] for row in np.flatnonzero(table.animated)]
        are = f"{counted(len(moving), 'picture')} {be(len(moving))} animated"
        yield f"{name}: {are}, only the first frame is trained: {some(moving)}"
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
    yield from _without_effect(source, usable)
    if table.note:
        yield table.note


def _without_effect(source: Source, usable: Rows) -> Iterator[str]:
    """Give what is said of options that find nothing to do in the pictures."""
    subset, table = source.subset, source.table
    if subset.augmentations.face_crop_aug_range is not None:
        half = [name for name in table.names if half_names_face(Path(name).stem)]
        if half:
            count = counted(len(half), "picture")
            yield f"{subset.source}: {count} without a face: of the last four parts some are no numbers: {some(half)}"
    # the first transparent picture ends the search
    if subset.alpha_mask and not any(may_be_transparent(source.path(int(row))) for row in usable):
        yield f"{subset.source}: alpha_mask has no effect: no picture has transparency"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 picture``, ``2 pictures``, ``1 batch``, ``2 batches``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('tch') else 's'}"


def be(count: int) -> str:
    """Return the verb for so many things."""
    return "is" if count == 1 else "are"


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
    if table.shouted:
        files, kinds = counted(sum(table.shouted.values()), "file"), ", ".join(sorted(table.shouted))
        return f"{said}; {files} in the folder end in {kinds}: rename them to {subset.caption_extension}"
    return said
