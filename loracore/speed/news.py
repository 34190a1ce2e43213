"""What becomes known of speed inside a step, until somebody asks for it between two steps."""

from __future__ import annotations


class News:
    """Lines for the console, each said once in a run."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._said: set[str] = set()

    def say(self, line: str) -> None:
        """Keep a line, unless it was said before."""
        if line not in self._said:
            self._said.add(line)
            self._waiting.append(line)

    def take(self) -> list[str]:
        """Return what has become known since the last time."""
        if not self._waiting:
            return []
        taken, self._waiting = self._waiting, []
        return taken
