"""Options of a configuration file: section names are the reader's own, one level deep; the later one wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from loracore.config.given import Given, given_twice, merged, underscored
from loracore.config.toml_file import TomlFile
from loracore.config.toml_lines import KeyPath
from loracore.errors import Problem

_DATA_SET_KEYS = frozenset({"general", "datasets"})


@dataclass(frozen=True, slots=True)
class Sections:
    """What a configuration file says."""

    given: tuple[Given, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()  # keys that stand in several sections


def holds_data_set(document: TomlFile) -> bool:
    """Tell whether ``[[datasets]]`` stands in the file; ``general`` then is the data set's as well."""
    return isinstance(document.values.get("datasets"), list)


def read_sections(document: TomlFile) -> Sections:
    """Return the options of a file, every section opened, a data set left alone.

    Of a key in several sections the last counts, as in the field, and a note names both places; two spellings of one
    key in the same section are a problem.
    """
    counting: dict[str, Given] = {}
    problems: list[Problem] = []
    notes: list[str] = []
    for section in _options(document):
        found = [each for each in section if isinstance(each, Given)]
        problems += [*(each for each in section if isinstance(each, Problem)), *given_twice(found)]
        notes += [_again(each, counting[each.name]) for each in found if each.name in counting]
        counting |= merged([found])
    return Sections(tuple(counting.values()), tuple(problems), tuple(notes))


def _again(later: Given, earlier: Given) -> str:
    return f"{later.place}: '{later.name}' stands in {earlier.place} too: the later one counts"


def _options(document: TomlFile) -> Iterator[list[Given | Problem]]:
    """Give what stands above the first section, then what stands in each."""
    left_alone = _DATA_SET_KEYS if holds_data_set(document) else frozenset()
    values = {key: value for key, value in document.values.items() if key not in left_alone}
    yield [_option(document, (key,), value) for key, value in values.items() if not isinstance(value, dict)]
    for key, value in values.items():
        if isinstance(value, dict):
            yield [_option(document, (key, inner), held) for inner, held in value.items()]


def _option(document: TomlFile, path: KeyPath, value: Any) -> Given | Problem:
    place = document.place(*path)
    items = value if isinstance(value, list) else []
    if isinstance(value, dict):
        return Problem(f"table '{path[-1]}' stands inside table '{path[0]}'", place, "sections are one level deep")
    if any(isinstance(item, dict) for item in items):
        return Problem(f"'{path[-1]}' is an array of tables, which no option is", place, "write [section] once")
    places = tuple(document.place(*path, index) for index in range(len(items)))
    return Given(underscored(str(path[-1])), value, place, places)
