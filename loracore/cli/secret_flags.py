"""Secret options among a command line's words: not repeated on any other line, which everybody's ``ps`` may show."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence

#: Environment variable in which processes of one run get the flags that their command lines lack.
_VARIABLE = "LORACORE_SECRET_FLAGS"


def parted(words: Sequence[str], names: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the words without the flags of these options, each of one value, and the words of these flags."""
    kept: list[str] = []
    taken: list[str] = []
    awaits = False  # a taken flag's value comes next
    for word in words:
        name, equals, _ = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            ours = name.replace("-", "_") in names
            awaits = ours and not equals
        else:
            ours, awaits = awaits, False
        (taken if ours else kept).append(word)
    return kept, taken


def handing_over(words: Sequence[str]) -> Mapping[str, str]:
    """Return the environment variables that hand words over to another process."""
    return {_VARIABLE: json.dumps(list(words))} if words else {}


def handed_over() -> list[str]:
    """Return the words that this process was handed over; who is started from here gets them no more."""
    found: list[str] = json.loads(os.environ.pop(_VARIABLE, "[]"))
    return found
