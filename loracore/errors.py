"""Errors a user can mend: what is wrong, where, and what to do; printed without traceback, exit code 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

#: Below this share of letters in common, names that are long are alike by chance.
_ALIKE = 0.7
#: What a terminal obeys, breaks lines at or cannot print: control characters, separators of lines, marks that turn the
#: direction of writing, and halves of surrogate pairs, which names of files may hold.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with its place and its cure.

    ``where`` is ``file:line``, ``--option``, or the path of a picture; ``fix`` is a sentence that tells what to change.
    Either may be empty.
    """

    message: str
    where: str = ""
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return printable(f"{place}{self.message}" + (f" ({self.fix})" if self.fix else ""))


class LoracoreError(Exception):
    """Something that the user can mend; everything else keeps its traceback."""

    exit_code: ClassVar[int] = 2  # of a program that ends with it

    def __init__(self, message: str, *, where: str = "", fix: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(message, where, fix),)
        super().__init__(str(self.problems[0]))

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> LoracoreError:
        """Join several problems into one error, so that a user sees them all at once."""
        found = tuple(problems)
        error = cls(found[0].message, where=found[0].where, fix=found[0].fix)
        error.problems = found
        error.args = ("\n".join(str(problem) for problem in found),)
        return error


class FailedElsewhereError(LoracoreError):
    """What another process of the same run has failed of; a launcher tells the exit code of that one."""

    exit_code: ClassVar[int] = 113  # which nothing else leaves with: 3 is what Windows says of an abort


class ConfigError(LoracoreError):
    """Options that are unknown, mistyped, contradictory or unsupported."""


class PluginError(LoracoreError):
    """A plugin that is missing, claimed twice, broken, or that breaks the hook contract."""


class DataError(LoracoreError):
    """Pictures, captions or weight files that cannot be used."""


def printable(text: str) -> str:
    r"""Return a text as one line that commands no terminal: names of files may hold anything, such as ``\x1b[31m``."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like ``name``, or None when none comes close."""
    candidates: Sequence[str] = sorted(set(known))
    matches = difflib.get_close_matches(name, candidates, n=1, cutoff=_ALIKE)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known name, or an empty string."""
    found = nearest(name, known)
    return f"did you mean '{found}'?" if found else ""
