"""Uploads of a run's results: one after the other, tried again when they fail, never at the cost of the run."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loracore.config.options import HubOptions
from loracore.training.uploading.client import HubClient, hub_client, is_final, reason
from loracore.training.uploading.holding import hold, release

#: Seconds before each further attempt.
WAITS = (1.0, 5.0, 20.0)


@dataclass(frozen=True, slots=True)
class _Held:
    """One file or folder on its way."""

    path: Path
    own: Path  # where it stands among the results


@dataclass(eq=False, slots=True)
class _Account:
    """What has become of the uploads; written on the thread that uploads, read everywhere."""

    asked: int = 0
    done: int = 0
    failures: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)


class Uploads:
    """Sends files and folders to one repository, at once or on a thread; nothing here raises for the hub's sake."""

    def __init__(self, options: HubOptions, client: HubClient | None = None, waits: Sequence[float] = WAITS) -> None:
        self._options = options
        self._client = client
        self._waits = tuple(waits)
        self._queue: queue.SimpleQueue[_Held | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._account = _Account()

    @property
    def wanted(self) -> bool:
        """Tell whether results are uploaded at all."""
        return self._options.huggingface_repo_id is not None

    @property
    def states(self) -> bool:
        """Tell whether states are uploaded too."""
        return self.wanted and self._options.save_state_to_huggingface

    def check(self) -> str | None:
        """Make the repository where it is missing; return why it cannot be used, None when it can."""
        options = self._options
        try:
            self._hub().create_repo(
                self._repository,
                repo_type=options.huggingface_repo_type,
                private=options.huggingface_repo_visibility == "private",
                exist_ok=True,
            )
        except Exception as error:  # noqa: BLE001  # whatever the hub's library raises, the run goes on
            return reason(error, options)
        return None

    def send(self, path: Path, *, wait: bool) -> list[str]:
        """Upload a result: with ``async_upload`` on a thread, unless it is to be waited for; return what has failed.

        The result is held: it may be deleted or replaced meanwhile.
        """
        self._account.asked += 1
        try:
            held = _Held(hold(path, self._account.asked), path)
        except OSError as error:
            return [*self.failures(), f"{path} is not uploaded: {error.strerror or error}"]
        if self._options.async_upload and not wait:
            self._begin().put(held)
        else:
            self._finish_thread()  # in the order of the run
            self._upload(held)
        return self.failures()

    def failures(self) -> list[str]:
        """Return what has failed since the last call, a line each."""
        found = []
        while not self._account.failures.empty():
            found.append(self._account.failures.get())
        return found

    def finish(self) -> list[str]:
        """Wait for every upload; return what has failed and a summary, a line each."""
        self._finish_thread()
        if not self._account.asked:
            return []
        count = f"{self._account.done} of {self._account.asked} results"
        return [*self.failures(), f"uploaded to {self._repository}: {count}"]

    @property
    def _repository(self) -> str:
        assert self._options.huggingface_repo_id is not None
        return self._options.huggingface_repo_id

    def _hub(self) -> HubClient:
        if self._client is None:
            self._client = hub_client(self._options)
        return self._client

    def _begin(self) -> queue.SimpleQueue[_Held | None]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
            self._thread.start()
        return self._queue

    def _work(self) -> None:
        while (held := self._queue.get()) is not None:
            self._upload(held)

    def _finish_thread(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _upload(self, held: _Held) -> None:
        """Upload one result, with further attempts; what fails in the end is noted."""
        for wait in (*self._waits, None):
            try:
                self._send_once(held)
            except Exception as error:  # noqa: BLE001  # as above
                if wait is None or is_final(error):
                    self._account.failures.put(f"{held.own} is not uploaded: {reason(error, self._options)}")
                    break
                time.sleep(wait)
            else:
                self._account.done += 1
                break
        release(held.path)

    def _send_once(self, held: _Held) -> None:
        folder = (self._options.huggingface_path_in_repo or "").strip("/")
        name = f"{folder}/{held.path.name}" if folder else held.path.name
        kind = self._options.huggingface_repo_type
        if held.path.is_dir():
            self._hub().upload_folder(
                folder_path=held.path, path_in_repo=name, repo_id=self._repository, repo_type=kind
            )
        else:
            self._hub().upload_file(
                path_or_fileobj=held.path, path_in_repo=name, repo_id=self._repository, repo_type=kind
            )
