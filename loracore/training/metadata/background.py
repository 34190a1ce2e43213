"""Slow answers that are looked for while the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

Answer = TypeVar("Answer")


def sought(work: Callable[[], Answer], name: str) -> Future[Answer]:
    """Start ``work`` on a thread of its own; the answer, or the error, is in the future.

    The thread is a daemon: a run that fails early does not wait for gigabytes to be read.
    """
    found: Future[Answer] = Future()
    Thread(target=_seek, args=(found, work), name=name, daemon=True).start()
    return found


def _seek(found: Future[Answer], work: Callable[[], Answer]) -> None:
    try:
        found.set_result(work())
    except BaseException as error:  # whoever asks for the answer raises it  # noqa: BLE001
        found.set_exception(error)
