"""Braces in captions: ``{a|b}`` says one of several words, ``{{`` and ``}}`` are braces that are meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

#: A doubled brace, or a choice. A choice ends at the last of an odd run of closing braces, the others being pairs;
#: it has at least one character and does not nest: an opening brace within it is text.
_BRACES = re.compile(r"\{\{|\}\}|\{((?:\}\}|[^}])+)\}(?!\})")


def choose_words(text: str, rng: random.Random) -> str:
    """Return the text with one alternative of each choice, every one as likely; doubled braces become single."""

    def chosen(found: re.Match[str]) -> str:
        choice: str | None = found[1]
        return _single(found[0] if choice is None else rng.choice(choice.split("|")))

    return _BRACES.sub(chosen, text)


def _single(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")
