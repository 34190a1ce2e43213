"""Options as the user gave them: a name, a value not yet checked, and the place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loracore.errors import Problem


@dataclass(frozen=True, slots=True)
class Given:
    """One option as it stands on the command line or in a file."""

    name: str  # with underscores
    value: Any
    place: str  # "--flag" or "file:line"
    item_places: tuple[str, ...] = ()  # of a list in a file, item by item

    def item_place(self, index: int) -> str:
        return self.item_places[index] if index < len(self.item_places) else self.place


def underscored(name: str) -> str:
    """Return an option's name as it is declared: dashes are underscores."""
    return name.replace("-", "_")


def given_twice(given: Iterable[Given]) -> list[Problem]:
    """Return a problem, naming both places, for every option that one source gives more than once."""
    first: dict[str, Given] = {}
    problems = []
    for each in given:
        if each.name in first:
            other = first[each.name].place
            also = "on the command line" if other.startswith("--") else f"in {other}"
            problems.append(Problem(f"'{each.name}' is given twice, also {also}", each.place, "keep one"))
        else:
            first[each.name] = each
    return problems


def merged(layers: Iterable[Sequence[Given]]) -> dict[str, Given]:
    """Return what counts of each option: later layers win, and within a layer the first mention."""
    winners: dict[str, Given] = {}
    for layer in layers:
        winners |= {each.name: each for each in reversed(layer)}
    return winners
