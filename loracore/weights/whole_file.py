"""A file that is written whole or not at all."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from loracore.errors import LoracoreError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
RETRIES = 5  # Windows: a virus scanner may hold a new file for a moment


@contextmanager
def whole_file(path: Path, elsewhere: str) -> Iterator[BinaryIO]:
    """Give a file that takes ``path``'s name when it is complete, and is removed otherwise.

    Its name holds either the old content or all of the new: temporary file, fsync, rename. Raises LoracoreError when
    it cannot be written; ``elsewhere`` is what to do where a full disk is not the cause.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _removed_unless_renamed(temporary):
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            move(temporary, path)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        fix = f"make room, or {elsewhere}" if error.errno in _FULL else elsewhere
        raise LoracoreError(message, where=str(path), fix=fix) from error


@contextmanager
def _removed_unless_renamed(path: Path) -> Iterator[None]:
    """Remove a file after an error or an interrupt; a renamed one is no longer there."""
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Give a file or a folder its new name, in the place of a file that has it; raises OSError when that fails."""
    for attempt in range(RETRIES):
        try:
            source.replace(target)
        except PermissionError:
            if attempt == RETRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)
        else:
            return
