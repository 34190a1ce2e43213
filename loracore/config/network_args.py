"""``network_args``: a second door to the options that networks and architectures tag for it."""

from __future__ import annotations

from collections.abc import Mapping

from loracore.config.declared import Declared, Option
from loracore.config.given import Given
from loracore.config.values import converted, shown
from loracore.errors import Problem, did_you_mean

_DOOR = "network_args"


def from_network_args(known: dict[str, Given], declared: Declared) -> tuple[dict[str, Given], list[Problem]]:
    """Return the options given as ``network_args = ["name=value"]``, split at the first ``=``, and what is wrong.

    The same option through both doors is wrong when the values differ.
    """
    found: dict[str, Given] = {}
    problems = []
    for each in _pairs(known.get(_DOOR)):
        problem = _problem(each, known | found, declared) if isinstance(each, Given) else each
        if problem is not None:
            problems.append(problem)
        elif isinstance(each, Given):
            option = declared.options[each.name]
            found[each.name] = Given(each.name, _raw(option, each.value), each.place)
    return found, problems


def _pairs(given: Given | None) -> list[Given | Problem]:
    if given is None:
        return []
    items = given.value if isinstance(given.value, (list, tuple)) else (given.value,)
    return [_pair(str(item), given.item_place(index)) for index, item in enumerate(items)]


def _pair(item: str, place: str) -> Given | Problem:
    name, equals, value = item.partition("=")
    if equals and name.strip():
        return Given(name.strip(), value.strip(), place)
    fix = "CONFIG stands before the list options" if item.endswith(".toml") else "write key=value"
    return Problem(f"{_subject(place)}'{item}' is not key=value", place, fix)


def _problem(each: Given, others: Mapping[str, Given], declared: Declared) -> Problem | None:
    names = declared.network_args()
    if each.name not in names:
        if each.name in declared.options:
            return Problem(
                f"{_subject(each.place)}'{each.name}' is an option of its own", each.place, f"write --{each.name}"
            )
        return Problem(f"{_subject(each.place)}unknown key '{each.name}'", each.place, did_you_mean(each.name, names))
    other = others.get(each.name)
    if other is None or _same(declared.options[each.name], each.value, other.value):
        return None
    message = f"'{each.name}' is {shown(each.value)} in {_DOOR} and {shown(other.value)} at {other.place}"
    return Problem(message, each.place, "keep one")


def _subject(place: str) -> str:
    """Return the option's name, unless the place says it."""
    return "" if place == f"--{_DOOR}" else f"{_DOOR}: "


def _raw(option: Option, value: str) -> str | tuple[str, ...]:
    """Split a list at its commas, as the field writes lists in ``network_args``."""
    return tuple(part.strip() for part in value.split(",")) if option.shape == "list" else value


def _same(option: Option, first: str, second: object) -> bool:
    """Tell whether two raw values mean the same: ``8`` and ``"8.0"`` do for a number."""
    try:
        one, other = converted(option, _raw(option, first)), converted(option, second)
        return bool(one == other) or float(one) == float(other)
    except (TypeError, ValueError):
        return False
