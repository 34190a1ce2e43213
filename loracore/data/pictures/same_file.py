"""Which paths lead to one file, however its folder is written and through whatever links."""
# ruff: noqa: PTH114, PTH118  # Paths are slow for a million names

from __future__ import annotations

import os
from collections.abc import Callable


def real_paths() -> Callable[[str | os.PathLike[str]], str]:
    """Return a function that gives the same text for all paths of one file; it resolves every folder once."""
    folders: dict[str, str] = {}

    def real(path: str | os.PathLike[str]) -> str:
        folder, name = os.path.split(path)
        if os.path.islink(path):
            folder, name = os.path.split(os.path.realpath(path))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.normcase(os.path.join(folders[folder], name))

    return real
