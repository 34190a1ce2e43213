"""Secret options among a command line's words: not repeated on any other line, which everybody's ``ps`` may show."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence

#: Environment variable in which processes of one run get the flags that their command lines lack.
_VARIABLE = "LORACORE_SECRET_FLAGS"


def parted(words: Sequence[str], names: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the words without the flags of these options, each of one value, and the words of these flags.

    Words behind such a flag's value belong to no option: they come first, where no list before the flag takes them.
    """
    free: list[str] = []
    kept: list[str] = []
    taken: list[str] = []
    behind = awaits = False  # the words that follow stand behind a taken flag; its value comes next
    for word in words:
        if word.startswith("--"):
            name, equals, _ = word.removeprefix("--").partition("=")
            behind = name.replace("-", "_") in names
            awaits = behind and not equals
            (taken if behind else kept).append(word)
        elif awaits:
            taken.append(word)
            awaits = False
        else:
            (free if behind else kept).append(word)
    return [*free, *kept], taken


def handing_over(words: Sequence[str]) -> Mapping[str, str]:
    """Return the environment variables that hand words over to another process."""
    return {_VARIABLE: json.dumps(list(words))} if words else {}


def handed_over() -> list[str]:
    """Return the words that this process was handed over; who is started from here gets them no more."""
    found: list[str] = json.loads(os.environ.pop(_VARIABLE, "[]"))
    return found
