"""One process of several fails: all end with its reason, not with that of a lost connection, and not in a hang."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from datetime import timedelta
from typing import Any

from torch.distributed import distributed_c10d

from loracore.errors import FailedElsewhereError, LoracoreError, Problem
from loracore.training.processes import Processes
from loracore.training.steps.control import Interrupted

_KEY = "loracore/failure"
_PATIENCE = timedelta(seconds=5)  # a lost connection is noticed a moment before its reason has arrived


@contextmanager
def failing_together(processes: Processes) -> Iterator[None]:
    """Tell the other processes why this one fails; raise in its place what another one has failed of.

    The first to fail counts. Who has not failed leaves the others at the end. Raises FailedElsewhereError
    with the reason of another process where this one has only lost the connection to it.
    """
    if processes.count == 1:
        yield
        return
    try:
        yield
    except LoracoreError as error:
        _tell(processes, [astuple(problem) for problem in error.problems])
        raise
    except Exception as error:
        theirs = _told(processes) if isinstance(error, RuntimeError) else None
        if theirs is not None:
            raise theirs from error
        _tell(processes, [(f"process {processes.index} failed: {type(error).__name__}: {error}", "", "")])
        raise
    except Interrupted:  # behind the same step in all of them
        processes.leave()
        raise
    processes.leave()


def _store() -> Any:  # torch's Store, which its types hide
    """Return the place where processes meet; torch gives no public name to the one that it has made already."""
    return distributed_c10d._get_default_store()  # noqa: SLF001


def _tell(processes: Processes, problems: list[tuple[str, str, str]]) -> None:
    with suppress(RuntimeError):  # the process that keeps the store has ended: nobody can be told
        _store().compare_set(_KEY, "", json.dumps([processes.index, problems]))


def _told(processes: Processes) -> LoracoreError | None:
    """Return what another process has failed of, if one has."""
    try:
        store = _store()
        store.wait([_KEY], _PATIENCE)
        index, problems = json.loads(store.get(_KEY))
    except RuntimeError:
        return None
    if index == processes.index:
        return None
    return FailedElsewhereError.of(Problem(*problem) for problem in problems)
