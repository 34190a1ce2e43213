"""One scan of the data set's folders: every picture with its caption and framing, or everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loracore.data.buckets import Buckets, make_buckets
from loracore.data.captions import with_affixes
from loracore.data.folders import Folder, Sight, list_folder, look_at
from loracore.data.images import readable_suffixes
from loracore.data.picture import Index, Picture
from loracore.errors import DataError, Problem

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec, SubsetSpec
    from loracore.data.buckets import Size
    from loracore.types import Framing

_SHOWN = 5  # names in a message that could hold thousands
_READERS = 8  # threads; Pillow and the file system work outside the interpreter's lock


@dataclass(frozen=True, slots=True)
class _Findings:
    """What came of one subset."""

    pictures: tuple[Picture, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def scan(datasets: Sequence[DatasetSpec]) -> Index:
    """Return every picture of the data sets, each decoded once so that broken ones are found now.

    Raises DataError with all problems at once: folders that are missing or hold no picture, pictures that cannot be
    decoded or are too thin for a bucket, captions that are not UTF-8.
    """
    suffixes = readable_suffixes()
    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as readers:
        findings = [
            _scan_subset(readers, suffixes, dataset, (row, column))
            for row, dataset in enumerate(datasets)
            for column in range(len(dataset.subsets))
        ]
    problems = [problem for found in findings for problem in found.problems]
    pictures = tuple(picture for found in findings for picture in found.pictures)
    if not problems and not pictures:
        problems.append(Problem("the data set holds no pictures", fix="name a folder of pictures as image_dir"))
    if problems:
        raise DataError.of(problems)
    noted = [warning for dataset in datasets for warning in dataset.warnings]
    return Index(pictures, (*noted, *(warning for found in findings for warning in found.warnings)))


def _scan_subset(
    readers: Executor, suffixes: Collection[str], dataset: DatasetSpec, place: tuple[int, int]
) -> _Findings:
    """Return the pictures of the subset at ``place`` (data set, subset)."""
    subset = dataset.subsets[place[1]]
    try:
        folder = list_folder(subset.image_dir, suffixes)
    except OSError as error:
        return _Findings(problems=(_no_folder(subset, error),))
    if not folder.pictures:
        return _Findings(problems=(_no_pictures(subset, folder),))
    sights = list(readers.map(lambda name: look_at(name, folder.others, subset), folder.pictures))
    framings = _frame(make_buckets(dataset), sights)
    problems = [problem for sight in sights for problem in sight.problems]
    problems += [_too_thin(sight, dataset) for sight in sights if sight.size and framings[sight.size] is None]
    pictures = [
        _picture(sight, framing, subset, place)
        for sight in sights
        if sight.size and (framing := framings[sight.size]) is not None
    ]
    return _Findings(tuple(pictures), _warnings(subset, folder, sights), tuple(problems))


def _frame(buckets: Buckets, sights: Sequence[Sight]) -> Mapping[Size, Framing | None]:
    """Return the framing of every size that occurs: far fewer than there are pictures."""
    return {size: buckets.framing(size) for size in {sight.size for sight in sights if sight.size}}


def _picture(sight: Sight, framing: Framing, subset: SubsetSpec, place: tuple[int, int]) -> Picture:
    raw = sight.caption if sight.caption is not None else subset.class_tokens or ""
    return Picture(
        path=sight.path,
        caption=with_affixes(raw, subset.caption_prefix, subset.caption_suffix),
        raw_caption=raw,
        framing=framing,
        repeats=subset.num_repeats,
        dataset=place[0],
        subset=place[1],
        interpolation=subset.resize_interpolation,
    )


def _warnings(subset: SubsetSpec, folder: Folder, sights: Sequence[Sight]) -> tuple[str, ...]:
    found: list[str] = []
    without = [sight.path.name for sight in sights if sight.caption is None and not sight.problems]
    if without:
        found.append(_without_caption(subset, folder, without, len(sights)))
    empty = [sight.path.name for sight in sights if sight.caption == ""]
    if empty:
        found.append(f"{subset.image_dir}: the caption is empty for {_some(empty)}")
    if folder.unread:
        count, kinds = sum(folder.unread.values()), ", ".join(sorted(folder.unread))
        found.append(f"{subset.image_dir}: {count} pictures of other formats are not read: {kinds}")
    return tuple(found)


def _without_caption(subset: SubsetSpec, folder: Folder, names: Sequence[str], total: int) -> str:
    instead = f"class_tokens '{subset.class_tokens}'" if subset.class_tokens else "an empty caption"
    said = (
        f"{subset.image_dir}: {len(names)} of {total} pictures have no caption file ({subset.caption_extension}) "
        f"and take {instead}: {_some(names)}"
    )
    text_files = sum(Path(name).with_suffix(".txt").name in folder.others for name in names)
    if text_files and subset.caption_extension != ".txt":
        return f'{said}; {text_files} have a .txt file: set caption_extension = ".txt" to use it'
    return said


def _no_folder(subset: SubsetSpec, error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        message = f"the folder '{subset.image_dir}' does not exist"
        return Problem(message, subset.place, "relative paths start at the working directory")
    return Problem(f"the folder '{subset.image_dir}' cannot be read: {error.strerror}", subset.place)


def _no_pictures(subset: SubsetSpec, folder: Folder) -> Problem:
    fix = "pictures are looked for in the folder itself, not in sub-folders"
    if folder.unread:
        fix += f"; {', '.join(sorted(folder.unread))} is not read"
    return Problem(f"the folder '{subset.image_dir}' holds no pictures", subset.place, fix)


def _too_thin(sight: Sight, dataset: DatasetSpec) -> Problem:
    width, height = sight.size or (0, 0)
    message = f"the picture ({width}x{height}) is thinner than one bucket step ({dataset.bucket_reso_steps})"
    return Problem(message, str(sight.path), "remove it, or leave out bucket_no_upscale so that it is enlarged")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
