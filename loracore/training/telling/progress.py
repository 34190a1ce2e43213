"""The progress of a run in the main process: a bar on stderr, or plain lines there or in a file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from loracore.config.options import LoggingOptions

_LINES = 100  # of progress in a whole run, where there is no bar


class Progress:
    """A bar of steps, with what has become known lately behind it; it appears with the first step.

    ``console_log_simple`` and ``console_log_file`` leave the bar out: about a hundred plain lines stand in its place.
    """

    def __init__(self, total: int, images_per_step: float, options: LoggingOptions, *, shown: bool) -> None:
        self._total = total
        self._images_per_step = images_per_step
        self._level = int(logging.getLevelName(options.console_log_level or "INFO"))
        self._file = None if options.console_log_file is None else Path(options.console_log_file)
        self._shown = shown
        self._barred = not options.console_log_simple and self._file is None
        self._bar: tqdm[Any] | None = None
        self._begun: tuple[int, float] | None = None  # the step before the first, and when

    def start(self, taken: int = 0) -> None:
        """Show the bar, ``taken`` steps behind its start; the pace counts from here."""
        self._begun = (taken, time.monotonic())
        hidden = not (self._barred and self._says(logging.INFO))
        self._bar = tqdm(
            total=self._total, initial=taken, desc="steps", unit="step", smoothing=0.05, disable=hidden, file=sys.stderr
        )

    def advance(self, step: int, values: Mapping[str, str]) -> None:
        """Move to a step (1-based) and show these values behind the bar."""
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(step - self._bar.n)
        elif not self._barred and (step % max(1, self._total // _LINES) == 0 or step == self._total):
            self.say(f"step {step}/{self._total}  " + "  ".join(f"{name} {value}" for name, value in values.items()))

    def say(self, line: str, level: int = logging.INFO) -> None:
        """Print a line above the bar, or into the file, unless ``console_log_level`` asks for more serious ones."""
        if not self._says(level):
            return
        if self._file is None:
            tqdm.write(line, file=sys.stderr)
            return
        with self._file.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")

    def images_per_second(self, step: int) -> float:
        """Return the pace since the bar appeared; 0 before anything can be said."""
        if self._begun is None:
            return 0.0
        taken, begun = self._begun
        elapsed = time.monotonic() - begun
        return (step - taken) * self._images_per_step / elapsed if elapsed else 0.0

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _says(self, level: int) -> bool:
        return self._shown and level >= self._level
