"""What the folders of states are called beside the names that results have: the latest, and one that steps aside."""

from __future__ import annotations

from pathlib import Path

#: What ``resume`` says of the state that was written last in the output folder.
LATEST = "latest"


def aside(path: Path) -> Path:
    """Return where a state steps to while a new one takes its place."""
    return path.with_name(f".{path.name}.aside")
