"""The progress bar of a run, drawn on stderr by the main process."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tqdm import tqdm


class Progress:
    """A bar of steps, with what has become known lately behind it."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self._shown = shown
        self._bar = tqdm(total=total, desc="steps", unit="step", smoothing=0.05, disable=not shown)

    def advance(self, values: Mapping[str, str]) -> None:
        """Move on by one step and show these values behind the bar."""
        self._bar.set_postfix(values, refresh=False)
        self._bar.update()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._shown:
            tqdm.write(line, file=sys.stderr)

    def images_per_second(self, images_per_step: float) -> float:
        """Return the pace since the first step."""
        elapsed = float(self._bar.format_dict["elapsed"])
        return self._bar.n * images_per_step / elapsed if elapsed else 0.0

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
