"""The command line that goes on with a run that ended too early."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from loracore import Event, hookimpl
from loracore.cli.secret_flags import parted

#: Flags that say where a run begins; each takes one value.
_BEGINNINGS = frozenset({"resume", "initial_step", "initial_epoch"})


class StandingStates:
    """A plugin of one run: knows the states that it has saved."""

    def __init__(self) -> None:
        self._saved: list[tuple[int, Path]] = []

    @hookimpl
    def happened(self, event: Event) -> None:
        """Keep a state in mind."""
        if event.kind == "saved" and event.values["what"] == "state":
            self._saved.append((event.step, Path(event.values["path"])))

    @property
    def newest(self) -> tuple[int, Path] | None:
        """The step and the folder of the newest state that stands; None: the run has saved none."""
        return next(((step, path) for step, path in reversed(self._saved) if path.exists()), None)


def resume_command(words: Sequence[str], state: Path, secret: Collection[str] = ()) -> str:
    """Return the line, as a shell takes it, that repeats ``loracore train`` with these words behind a state.

    Flags of the options ``secret`` are left out.
    """
    kept, _ = parted(words, {*_BEGINNINGS, *secret})
    line = ["loracore", "train", *kept, "--resume", str(state)]
    return subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)
