"""Writing while training goes on: one thread, and what became of each file is told in the loop's own thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from loracore.errors import LoracoreError

#: What is called in the loop's thread when a file is written (None) or could not be (why).
Then = Callable[[LoracoreError | None], None]


@dataclass(frozen=True, eq=False, slots=True)
class _Job:
    path: Path
    future: Future[object]
    then: Then


class BackgroundWriter:
    """Writes files and folders one after the other on a thread of its own.

    A job that cannot write (disk full, read-only folder: LoracoreError or OSError) harms nobody: its ``then`` is told
    and the run goes on. Any other exception is a fault of the program and is raised in the loop's thread. The thread
    is no daemon: a process that ends waits for what it has been given.
    """

    def __init__(self, waiting: int = 1) -> None:
        self._waiting = waiting  # jobs behind the one that is being written; each holds a copy of its tensors
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._jobs: deque[_Job] = deque()
        self._written: dict[Path, None] = {}  # in order

    @property
    def standing(self) -> list[Path]:
        """The files and folders that were written here and are still there, the newest first."""
        return [path for path in reversed(self._written) if path.exists()]

    def submit(self, job: Callable[[], object], path: Path, then: Then) -> None:
        """Write in the background; waits while too many jobs wait already.

        ``job`` writes ``path``, whole or not at all, from tensors that nobody changes any more. ``then`` is called by
        a later ``poll`` or ``settle``, in the order of submission.
        """
        while len(self._jobs) > self._waiting:
            self._finish()
        self.poll()
        self._jobs.append(_Job(path, self._pool.submit(job), then))

    def poll(self) -> None:
        """Tell of what has been written since, without waiting."""
        while self._jobs and self._jobs[0].future.done():
            self._finish()

    def settle(self) -> None:
        """Wait until everything is written, and tell of it."""
        while self._jobs:
            self._finish()

    def close(self) -> None:
        """Wait for the thread, telling nobody any more: for runs that end with an error."""
        self._pool.shutdown(wait=True)

    def _finish(self) -> None:
        """Wait for the oldest job and tell of it; raises what is a fault of the program."""
        job = self._jobs[0]
        try:
            job.future.result()
            error = None
            self._written.pop(job.path, None)
            self._written[job.path] = None
        except LoracoreError as problem:
            error = problem
        except OSError as problem:
            error = LoracoreError(f"cannot be written: {problem.strerror or problem}", where=str(job.path))
        finally:
            if job.future.done():  # not after Ctrl+C while waiting
                self._jobs.popleft()
        job.then(error)
