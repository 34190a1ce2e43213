"""Python's logging while a run goes on: how serious, how it looks, where to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from loracore.config.config import Config
from loracore.config.options import LoggingOptions
from loracore.errors import LoracoreError

_FULL = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_SIMPLE = "%(message)s"


class _AboveTheBar(logging.Handler):
    """Writes records so that a progress bar stays below them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def console_logging(config: Config, *, shown: bool) -> Iterator[None]:
    """Send python's logging where the options say while the block runs; an earlier ``console_log_file`` is emptied.

    ``console_log_level`` counts for every library when it is given; else those below warnings stay silent, our own
    lines apart. Raises LoracoreError when the file cannot be written. Processes that are not ``shown`` change nothing.
    """
    if not shown:
        yield
        return
    options, root = config[LoggingOptions], logging.getLogger()
    handler = _handler(options)
    handler.setFormatter(logging.Formatter(_SIMPLE if options.console_log_simple else _FULL))
    before = root.level
    root.addHandler(handler)
    root.setLevel(options.console_log_level or logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
        handler.close()


def _handler(options: LoggingOptions) -> logging.Handler:
    if options.console_log_file is None:
        return _AboveTheBar()
    path = Path(options.console_log_file)
    try:
        path.write_bytes(b"")
        # Appended, as our own lines are: two that write to one file otherwise write over each other.
        return logging.FileHandler(path, mode="a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        message = f"the console's file cannot be written: {error.strerror or error}"
        raise LoracoreError(message, where=str(path), fix="give another --console_log_file") from error
