"""The command line that goes on with an interrupted run."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

#: Flags that say where a run begins; each takes one value.
_BEGINNINGS = frozenset({"resume", "initial_step", "initial_epoch"})


def resume_command(words: Sequence[str], state: Path, hidden: Sequence[str] = ()) -> str:
    """Return the line, as a shell takes it, that repeats ``loracore train`` with these words behind a state.

    ``hidden`` are secrets: they are not repeated, whoever resumes the run has them.
    """
    line = ["loracore", "train", *_without_beginning(words), "--resume", str(state)]
    kept = [_masked(word, hidden) for word in line]
    return subprocess.list2cmdline(kept) if os.name == "nt" else shlex.join(kept)


def _without_beginning(words: Sequence[str]) -> Iterator[str]:
    skips = False
    for word in words:
        name, equals, _ = word.removeprefix("--").partition("=")
        if skips:
            skips = False
        elif word.startswith("--") and name.replace("-", "_") in _BEGINNINGS:
            skips = not equals
        else:
            yield word


def _masked(word: str, hidden: Sequence[str]) -> str:
    for secret in hidden:
        word = word.replace(secret, "(hidden)")
    return word
