"""Brackets in captions → pieces of text, each with the weight of its tokens; pure text, no torch.

The field's spelling: ``(text)`` is 1.1, ``[text]`` is 1/1.1, ``(text:1.2)`` is 1.2; weights of brackets in brackets are
multiplied; a backslash before a bracket makes it plain. A bracket that is never closed reaches to the end of the
caption, and one that closes nothing is plain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

_OPENS = MappingProxyType({")": "(", "]": "["})
_FACTOR = MappingProxyType({")": 1.1, "]": 1 / 1.1})
_TOKEN = re.compile(
    r"\\(?P<plain>[\\()\[\]])"
    r"|(?P<opening>[(\[])"
    r"|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)"
    r"|(?P<closing>[)\]])"
    r"|[^\\()\[\]:]+|.",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class WeightedText:
    """A piece of a caption, and what the hidden states of its tokens are multiplied by."""

    text: str
    weight: float = 1.0


def weighted_pieces(caption: str) -> tuple[WeightedText, ...]:
    """Return the pieces of a caption, neighbours of one weight joined; one piece of weight 1 without brackets."""
    pieces: list[WeightedText] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}  # how many pieces stand before each bracket that is still open
    for match in _TOKEN.finditer(caption):
        kind, found = match.lastgroup, match[0]
        if kind == "opening":
            opened[found].append(len(pieces))
        elif kind == "weight" and opened["("]:
            pieces = _multiplied(pieces, opened["("].pop(), float(match["weight"]))
        elif kind == "closing" and opened[_OPENS[found]]:
            pieces = _multiplied(pieces, opened[_OPENS[found]].pop(), _FACTOR[found])
        else:
            pieces.append(WeightedText(match["plain"] or found))
    for closing, opening in _OPENS.items():
        for start in opened[opening]:
            pieces = _multiplied(pieces, start, _FACTOR[closing])
    return _joined(pieces) or (WeightedText(""),)


def _multiplied(pieces: list[WeightedText], start: int, factor: float) -> list[WeightedText]:
    """Return the pieces, those from ``start`` on with their weight multiplied."""
    return [*pieces[:start], *(WeightedText(piece.text, piece.weight * factor) for piece in pieces[start:])]


def _joined(pieces: list[WeightedText]) -> tuple[WeightedText, ...]:
    joined: list[WeightedText] = []
    for piece in pieces:
        if joined and joined[-1].weight == piece.weight:
            joined[-1] = WeightedText(joined[-1].text + piece.text, piece.weight)
        else:
            joined.append(piece)
    return tuple(joined)
