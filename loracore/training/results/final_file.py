"""The file of the last step: written where it belongs, else elsewhere; the training must not be lost to a full disk."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from loracore.training.run import Run

PAUSE = 5.0  # seconds between two attempts while a person makes room


def save_final(run: Run, step: int) -> None:
    """Write the final file and return when it stands; every process calls this, the main one writes.

    Where it cannot be written it goes to the current folder, else to the system's folder for temporary files. Where
    these take nothing either, and a terminal tells that a person is there, it is tried again until there is room or
    Ctrl-C. ``Saver.check`` raises what has become of it.
    """
    _save(run, step, run.results.files.final)
    run.results.writer.settle()
    run.control.end()  # not before: until here a signal would lose the file; from here on one gives up the waiting
    saver = run.results.saver
    if saver is None or not saver.lacks_final:
        return
    for path in places_elsewhere(run.results.files.folder, run.results.files.final.name):
        _save(run, step, path)
        run.results.writer.settle()
        if not saver.lacks_final:
            return
    if sys.stdin.isatty() and sys.stderr.isatty():
        where = (
            f"{run.results.files.final} has no room; make some: it is tried every {PAUSE:g} seconds, Ctrl-C gives up"
        )
        run.outlets.progress.say(where, logging.ERROR)
        tried_until(lambda: _stands(run, step), PAUSE)


def places_elsewhere(folder: Path, name: str) -> Iterator[Path]:
    """Give free paths in the current folder and in the system's for temporary files, where they are not ``folder``.

    Each is looked for when it is asked for: a folder may be gone, and a full disk leaves none for temporary files.
    """
    for found in (Path.cwd, tempfile.gettempdir):
        with suppress(OSError):
            place = Path(found())
            if place.resolve() != folder.resolve():
                yield free_path(place / name)


def free_path(path: Path) -> Path:
    """Return the path, or that of the first number behind its name that nothing has."""
    return next(found for found in _numbered(path) if not found.exists())


def tried_until(attempt: Callable[[], bool], pause: float) -> bool:
    """Attempt something until it works, with a pause of seconds before each time; False after Ctrl-C."""
    try:
        while True:
            time.sleep(pause)
            if attempt():
                return True
    except KeyboardInterrupt:
        return False


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))


def _save(run: Run, step: int, path: Path) -> None:
    run.save(step=step, epoch=run.length.epoch_of(step), name=path, reason="final")


def _stands(run: Run, step: int) -> bool:
    _save(run, step, run.results.files.final)
    run.results.writer.settle()
    return run.results.saver is not None and not run.results.saver.lacks_final
