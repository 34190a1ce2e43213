"""A result kept until it is uploaded, whatever becomes of its own name: retention may delete it, a run replace it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: Folder beside the results; what a killed run leaves there is removed by the next.
HOLDING = ".loracore-uploads"


def hold(path: Path, number: int) -> Path:
    """Return a second name of a file, or of every file of a folder; a copy where there are no hard links."""
    held = path.parent / HOLDING / str(number) / path.name
    held.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, held, copy_function=_link)
    else:
        _link(path, held)
    return held


def release(held: Path) -> None:
    """Give up the second name, and the folder where nothing else is held."""
    shutil.rmtree(held.parent, ignore_errors=True)
    holding = held.parent.parent
    if holding.is_dir() and not any(holding.iterdir()):
        shutil.rmtree(holding, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove what an earlier run has left in its hold."""
    shutil.rmtree(folder / HOLDING, ignore_errors=True)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
