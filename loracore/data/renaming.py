"""A finished file takes its name, even where somebody looks at it for a moment."""

from __future__ import annotations

import time
from pathlib import Path

_TRIES, _PAUSE = 3, 0.1  # s; on Windows a virus scanner may hold a new file for a moment


def rename(source: Path, target: Path) -> None:
    """Rename a file, replacing one that is there. Raises OSError, PermissionError only after some patience."""
    for left in reversed(range(_TRIES)):
        try:
            source.replace(target)
        except PermissionError:
            if not left:
                raise
            time.sleep(_PAUSE)
        else:
            return
