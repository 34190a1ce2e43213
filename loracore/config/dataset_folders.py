"""What a folder given as ``train_data_dir`` or ``reg_data_dir`` means: subsets, by the names of its sub-folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class FolderSubsets:
    """Subsets as a data-set file would write them, and what a user should know of the rest of the folder."""

    subsets: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = ()


def folder_subsets(folder: Path) -> FolderSubsets:
    """Return one subset for each ``N_name`` sub-folder, sorted, or the folder itself when there is none.

    A folder that cannot be listed is left for the scan to complain of.
    """
    folders, files = _listed(folder)
    named = {name: split for name in folders if (split := _repeats_and_tokens(name))}
    if not named:
        return FolderSubsets(({"image_dir": str(folder)},))
    left_out = [name for name in folders if name not in named]
    warnings: list[str] = []
    if left_out:
        names = ", ".join(left_out)
        warnings.append(f"{folder}: sub-folders without N_ (1 or more) before their name are not used: {names}")
    if files:
        warnings.append(f"{folder}: files beside the sub-folders {', '.join(named)} are not used")
    subsets = tuple(
        {"image_dir": str(folder / name), "num_repeats": repeats, "class_tokens": tokens}
        for name, (repeats, tokens) in named.items()
    )
    return FolderSubsets(subsets, tuple(warnings))


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of sub-folders and of files, each sorted, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    except OSError:
        return [], []
    return [name for name, is_dir in found if is_dir], [name for name, is_dir in found if not is_dir]


def _repeats_and_tokens(name: str) -> tuple[int, str] | None:
    """Return (num_repeats, class_tokens) of a folder called ``N_name``, or None when N is no number above 0."""
    number, _, tokens = name.partition("_")
    try:
        repeats = int(number)
    except ValueError:
        return None
    return (repeats, tokens) if repeats > 0 else None
