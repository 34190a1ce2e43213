"""The progress bar of a run, drawn on stderr by the main process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm


class Progress:
    """A bar of steps, with what has become known lately behind it; it appears with the first step."""

    def __init__(self, total: int, images_per_step: float, *, shown: bool) -> None:
        self._total = total
        self._images_per_step = images_per_step
        self._shown = shown
        self._bar: tqdm[Any] | None = None

    def start(self) -> None:
        """Show the bar; the pace counts from here."""
        self._bar = tqdm(total=self._total, desc="steps", unit="step", smoothing=0.05, disable=not self._shown)

    def advance(self, values: Mapping[str, str]) -> None:
        """Move on by one step and show these values behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._shown:
            tqdm.write(line, file=sys.stderr)

    def images_per_second(self) -> float:
        """Return the pace since the bar appeared; 0 before anything can be said."""
        elapsed = 0.0 if self._bar is None else float(self._bar.format_dict["elapsed"])
        return (self._bar.n + 1) * self._images_per_step / elapsed if self._bar is not None and elapsed else 0.0

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
