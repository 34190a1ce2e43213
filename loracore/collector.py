"""Python's garbage collector while a program's libraries are imported."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 300  # modules: torch alone has more


@contextmanager
def collecting_later() -> Iterator[None]:
    """Let the collector wait while libraries are imported: a fifth of that time it would look for garbage in vain.

    Where many modules came, everything that is there now stays out of its sight for good (``gc.freeze``): later
    collections look through what a run makes, and not through a million objects of modules that never go. A second run
    of the same process imports next to nothing, and what it leaves can be collected as ever.
    """
    enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) - before > _MANY:
            gc.freeze()
        if enabled:
            gc.enable()
