"""The folder of a run's results: what the files are called, who may write, what must not be replaced."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from loracore.config.options import SavingOptions
from loracore.errors import ConfigError, LoracoreError, Problem

LOCK_NAME = ".loracore.lock"


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """The names of a run's results, as the field writes them: of files with networks, or of folders with states."""

    folder: Path
    name: str | None  # output_name
    ending: str  # ".safetensors", "-state"

    @property
    def states(self) -> ResultFiles:
        """The names of the folders with states that lie beside these files."""
        return replace(self, ending="-state")

    @property
    def final(self) -> Path:
        return self.folder / f"{self.name or 'last'}{self.ending}"

    def epoch(self, epoch: int) -> Path:
        """Return the result of an epoch (1-based)."""
        return self.folder / f"{self.name or 'epoch'}-{epoch:06d}{self.ending}"

    def step(self, step: int) -> Path:
        """Return the result of a step (1-based)."""
        return self.folder / f"{self.name or 'at'}-step{step:08d}{self.ending}"

    def best(self, step: int) -> Path:
        """Return the result of a step (1-based) that is among the best ones."""
        return self.folder / f"{self.name or 'at'}-best-step{step:08d}{self.ending}"

    def best_step(self, name: str) -> int | None:
        """Return the step that this name of a result among the best ones tells; None: it is no such name."""
        pattern = rf"{re.escape(self.name or 'at')}-best-step(\d{{8,}}){re.escape(self.ending)}"
        found = re.fullmatch(pattern, name)
        return None if found is None else int(found[1])

    def best_steps(self) -> list[int]:
        """Return the steps of the best ones that are there."""
        found = (self.best_step(path.name) for path in self._there())
        return sorted(step for step in found if step is not None)

    def is_one(self, name: str) -> bool:
        """Tell whether this is the name of the final result, or of one of an epoch or a step; the best ones apart."""
        last, epochs, steps = (re.escape(self.name or prefix) for prefix in ("last", "epoch", "at"))
        ending = re.escape(self.ending)
        return re.fullmatch(rf"({last}|{epochs}-\d{{6,}}|{steps}-step\d{{8,}}){ending}", name) is not None

    def holds(self, path: Path) -> bool:
        """Tell whether a path is that of such a result in this folder."""
        return self.is_one(path.name) and path.resolve().parent == self.folder.resolve()

    def existing(self) -> list[Path]:
        """Return the results of this name that are there already, of whatever run: files and states."""
        return sorted(
            path
            for path in self._there()
            for kind in (self, self.states)
            if kind.is_one(path.name) or kind.best_step(path.name) is not None
        )

    def _there(self) -> list[Path]:
        return list(self.folder.iterdir()) if self.folder.is_dir() else []


def result_files(saving: SavingOptions) -> ResultFiles:
    """Return the names that the options ask for; raises ConfigError without an output folder."""
    if saving.output_dir is None:
        message = "there is no folder for the results"
        raise ConfigError(message, where="--output_dir", fix="give --output_dir FOLDER")
    return ResultFiles(Path(saving.output_dir), saving.output_name, f".{saving.save_model_as}")


@contextmanager
def guarded(files: ResultFiles, *, overwrite: bool) -> Iterator[None]:
    """Hold the output folder for one run; a folder that was made for it and stays empty is taken away again.

    Raises LoracoreError when it cannot be written to, when another run holds it, or when results of this name exist
    and ``overwrite`` is off.
    """
    made = not files.folder.exists()
    check_writable(files.folder)
    lock = FileLock(files.folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        message, fix = "another run writes into this folder", "wait for it, or give another --output_dir"
        raise LoracoreError(message, where=str(files.folder), fix=fix) from error
    try:
        if not overwrite:
            _check_free(files)
        yield
    finally:
        _release(lock)
        if made:
            _remove_empty(files.folder)


def check_writable(folder: Path) -> None:
    """Make the folder where it is missing; raises LoracoreError when nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"the output folder cannot be written to: {error.strerror or error}"
        raise LoracoreError(message, where=str(folder), fix="give another --output_dir") from error


def _release(lock: FileLock) -> None:
    """Take the lock's file away while it is still held: whoever comes next makes a new one.

    Unlinked after the release, the file could already be another run's. Windows refuses to unlink an open file; there
    it stays behind, unlocked.
    """
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something
        folder.rmdir()


def in_the_way(files: ResultFiles) -> list[Problem]:
    """Return a problem for each result of this name that is there already."""
    fix = "give --overwrite to replace it, or another --output_name"
    return [Problem("this result exists already", str(path), fix) for path in files.existing()]


def _check_free(files: ResultFiles) -> None:
    found = in_the_way(files)
    if found:
        raise LoracoreError.of(found)
