"""The best files when a run goes on: those that are gone, and those of a life that was given up."""

from __future__ import annotations

from collections.abc import Iterator

from loracore.training.results.outputs import ResultFiles
from loracore.training.validation.record import Record


def settle_best_files(record: Record, files: ResultFiles, taken: int) -> Iterator[str]:
    """Bring what a run knows of its best files in line with the folder, and give what is to be said of it.

    ``taken`` steps are behind the run. Kept steps without a file are forgotten. Files of later steps are of a life that
    was given up when an older state was resumed: they stay until this one has a best file to put in their place.
    """
    missing = [step for step in record.kept if not files.best(step).exists()]
    if missing:
        record.forget(missing)
        yield f"keep_best: the files of steps {_listed(missing)} are not in {files.folder} any more: forgotten"
    later = [step for step in files.best_steps() if step > taken]
    if later:
        record.abandon(later)
        yield f"keep_best: files of steps {_listed(later)}, behind step {taken}, go when this run has a best file"


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, sorted(steps)))
