"""What the folders of states are called, as the field names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from loracore.training.results.outputs import ResultFiles

#: What ``resume`` says of the state that was written last in the output folder.
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class StateNames:
    """The names of a run's state folders; those of its files with ``-state`` behind them."""

    folder: Path
    name: str | None  # output_name

    @property
    def final(self) -> Path:
        return self.folder / f"{self.name or 'last'}-state"

    def epoch(self, epoch: int) -> Path:
        """Return the folder of an epoch (1-based)."""
        return self.folder / f"{self.name or 'epoch'}-{epoch:06d}-state"

    def step(self, step: int) -> Path:
        """Return the folder of a step (1-based)."""
        return self.folder / f"{self.name or 'at'}-step{step:08d}-state"

    def is_one(self, name: str) -> bool:
        """Tell whether a folder of this name holds a state of such a run."""
        last, epochs, steps = (re.escape(self.name or prefix) for prefix in ("last", "epoch", "at"))
        return re.fullmatch(rf"({last}|{epochs}-\d{{6,}}|{steps}-step\d{{8,}})-state", name) is not None

    def holds(self, path: Path) -> bool:
        """Tell whether a path is that of such a state in this folder."""
        return self.is_one(path.name) and path.resolve().parent == self.folder.resolve()


def aside(path: Path) -> Path:
    """Return where a state steps to while a new one takes its place."""
    return path.with_name(f".{path.name}.aside")


def state_names(files: ResultFiles) -> StateNames:
    """Return the names of the states beside these files."""
    return StateNames(files.folder, files.name)
