"""Which picture of conditioning_data_dir is whose mask: by name, in a list by path below image_dir."""
# ruff: noqa: PTH117, PTH118, PTH119, PTH120, PTH122  # Paths are slow for a million names

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracore.data.lists.metadata_keys import names_by_stem
from loracore.data.sources import Masks
from loracore.data.tables.folder_table import scan_folder, scan_list

if TYPE_CHECKING:
    from loracore.config.dataset_spec import SubsetSpec
    from loracore.data.tables.picture_table import PictureTable


@dataclass(frozen=True, eq=False, slots=True)
class MatchedMasks:
    """The masks of a subset's pictures."""

    masks: Masks
    rivals: Mapping[int, Sequence[str]]  # row of a picture → its masks, where there are several: none of them counts
    shared: Sequence[Sequence[str]]  # names of pictures that have one mask together


def match_masks(
    subset: SubsetSpec, pictures: PictureTable, suffixes: Collection[str], keep: Path | None
) -> MatchedMasks | None:
    """Return the masks of the pictures, None where a subset has none. Raises OSError for a folder that is missing.

    A folder's pictures have masks of the same name, whatever the extension. Those of a list have them in the same
    sub-folder too, as far as they are inside image_dir: two sub-folders may hold pictures of one name.
    """
    folder = subset.conditioning_data_dir
    if folder is None:
        return None
    names = list(pictures.names)
    if subset.metadata_file is None:
        table = scan_folder(folder, "", suffixes, keep)
        return _matched(folder, table, list(table.names), names, names)
    inside = [_inside(name, subset.image_dir) for name in names]
    found = _below(folder, {os.path.dirname(name) for name in inside}, suffixes)
    # kept under a name of its own: the folder may have a table too, or masks for another list
    table = scan_list([folder / name for name in found], keep, folder / subset.metadata_file.name)
    return _matched(folder, table, found, inside, names)


def _matched(
    folder: Path, table: PictureTable, found: Sequence[str], wanted: Sequence[str], names: Sequence[str]
) -> MatchedMasks:
    """Match the names of pictures, ``wanted``, with those of masks; ``names`` are the pictures' own."""
    by_stem: dict[str, list[int]] = defaultdict(list)
    for mask, name in enumerate(found):
        by_stem[_stem(name)].append(mask)
    own = [by_stem.get(_stem(name), []) for name in wanted]
    users: dict[int, list[str]] = defaultdict(list)
    for name, masks in zip(names, own, strict=True):
        if len(masks) == 1:
            users[masks[0]].append(name)
    rows = np.array([masks[0] if len(masks) == 1 else -1 for masks in own], dtype=np.int64)
    rivals = {row: [found[mask] for mask in masks] for row, masks in enumerate(own) if len(masks) > 1}
    return MatchedMasks(Masks(folder, table, rows), rivals, [each for each in users.values() if len(each) > 1])


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _inside(path: str, image_dir: Path | None) -> str:
    """Return a listed picture's path below image_dir; its name, where it lies elsewhere."""
    written = "" if image_dir is None or str(image_dir) == os.curdir else os.path.join(str(image_dir), "")
    if path.startswith(written) and not os.path.isabs(path[len(written) :]):
        return path[len(written) :]
    return os.path.basename(path)


def _below(folder: Path, sub_folders: Collection[str], suffixes: Collection[str]) -> list[str]:
    """Return the pictures of some sub-folders, "" being the folder itself. Raises OSError where that is missing."""
    os.scandir(folder).close()
    found: list[str] = []
    for sub in sorted(sub_folders):
        with suppress(OSError):  # its pictures have no masks, which will be said
            listed = names_by_stem(str(folder / sub), suffixes)
            found += [os.path.join(sub, name) for names in listed.values() for name in names]
    return found
