"""Options of a configuration file: section names are the reader's own, one level deep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from loracore.config.given import Given, given_twice, underscored
from loracore.config.toml_file import TomlFile
from loracore.config.toml_lines import KeyPath
from loracore.errors import Problem

_DATA_SET_KEYS = frozenset({"general", "datasets"})


@dataclass(frozen=True, slots=True)
class Sections:
    """What a configuration file says."""

    given: tuple[Given, ...]
    problems: tuple[Problem, ...]


def holds_data_set(document: TomlFile) -> bool:
    """Tell whether ``[[datasets]]`` stands in the file; ``general`` then is the data set's as well."""
    return isinstance(document.values.get("datasets"), list)


def read_sections(document: TomlFile) -> Sections:
    """Return the options of a file, every section opened, a data set left alone."""
    found = list(_options(document))
    given = tuple(each for each in found if isinstance(each, Given))
    return Sections(given, (*(each for each in found if isinstance(each, Problem)), *given_twice(given)))


def _options(document: TomlFile) -> Iterator[Given | Problem]:
    left_alone = _DATA_SET_KEYS if holds_data_set(document) else frozenset()
    for key, value in document.values.items():
        if key in left_alone:
            continue
        if not isinstance(value, dict):
            yield _option(document, (key,), value)
            continue
        yield from (_option(document, (key, inner), held) for inner, held in value.items())


def _option(document: TomlFile, path: KeyPath, value: Any) -> Given | Problem:
    place = document.place(*path)
    items = value if isinstance(value, list) else []
    if isinstance(value, dict):
        return Problem(f"table '{path[-1]}' stands inside table '{path[0]}'", place, "sections are one level deep")
    if any(isinstance(item, dict) for item in items):
        return Problem(f"'{path[-1]}' is an array of tables, which no option is", place, "write [section] once")
    places = tuple(document.place(*path, index) for index in range(len(items)))
    return Given(underscored(str(path[-1])), value, place, places)
