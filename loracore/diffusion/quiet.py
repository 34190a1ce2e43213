"""What diffusers and transformers say on import and while building is kept off the console; no torch here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let only errors of diffusers, transformers, bitsandbytes and the hub's client reach the console.

    On import they tell of optional packages that are not there, which no user asked for; without a network, of every
    attempt.
    """
    names = ("diffusers", "transformers", "bitsandbytes", "huggingface_hub")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
