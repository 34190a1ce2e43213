"""Options as given → the checked config of a run, with every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from loracore.config.annotated_fields import adapter_of
from loracore.config.config import Config
from loracore.config.declared import Declared, Option
from loracore.config.given import Given, merged
from loracore.config.network_args import from_network_args
from loracore.config.refused import refusal
from loracore.config.values import converted, mistyped
from loracore.errors import Problem, did_you_mean

#: Messages of a validator that a plugin wrote itself; pydantic's own are said in our words.
_OWN_MESSAGES = frozenset({"value_error", "assertion_error"})


@dataclass(frozen=True, slots=True)
class Checked:
    """The config as if the ``doubtful`` options, whose values do not fit, were not given; what was; what is wrong."""

    config: Config
    doubtful: frozenset[str]
    given: Mapping[str, Given]
    problems: tuple[Problem, ...]


#: Values of a refused option that ask for nothing: whoever refuses it may say that it has no effect.
_OFF = (False, None, "false", ("0",), ("0.0",), ("false",))  # in a file a value, of a refused flag a list of words


def check(layers: Iterable[Sequence[Given]], declared: Declared) -> Checked:
    """Return the config that these layers make; later layers win over earlier ones, and over the defaults."""
    given = merged(layers)
    known = {name: each for name, each in given.items() if name in declared.options}
    off = {name: each for name, each in given.items() if name in declared.refused and each.value in _OFF}
    unknown = (each for name, each in given.items() if name not in declared.options and name not in off)
    problems = [_unknown(each, declared) for each in unknown]
    second_door, found = from_network_args(known, declared)
    known |= second_door
    values, mistakes = _converted(known, declared.options)
    tables, refused = _validated(declared, values, known)
    doubtful = frozenset(refused) | (known.keys() - values.keys())
    places = {name: each.place for name, each in (off | known).items() if name not in doubtful}
    made = Config(tables, places)
    wrong = (*problems, *found, *mistakes, *refused.values())
    return Checked(made, doubtful, known, wrong)


def _unknown(given: Given, declared: Declared) -> Problem:
    names = declared.options
    refused = declared.refused.get(given.name) or refusal(given.name)
    if refused is not None:
        return Problem(f"{given.name} is not supported: {refused.message}", given.place, refused.fix)
    longer = [name for name in names if name.startswith(given.name)] if given.name else []
    if longer and given.place.startswith("--"):
        fix = f"abbreviations are not accepted: write {' or '.join(f'--{name}' for name in longer[:4])}"
    else:
        fix = did_you_mean(given.name, names)
    return Problem(f"unknown option '{given.name}'", given.place, fix)


def _converted(known: Mapping[str, Given], options: Mapping[str, Option]) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems = []
    for name, given in known.items():
        if _holds_nul(given.value):
            problems.append(mistyped(options[name], given, reason="must hold no NUL character"))
            continue
        try:
            values[name] = converted(options[name], given.value)
        except ValueError:
            problems.append(mistyped(options[name], given))
    return values, problems


def _holds_nul(value: Any) -> bool:
    items = value if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(item, str) and "\0" in item for item in items)


def _validated(
    declared: Declared, values: Mapping[str, Any], known: Mapping[str, Given]
) -> tuple[list[Any], dict[str, Problem]]:
    """Make every table from its values; a problem for each option that pydantic refuses, which is left out then."""
    tables: list[Any] = []
    problems: dict[str, Problem] = {}
    for table in declared.tables:
        mine = {name: value for name, value in values.items() if declared.options[name].table is table}
        if not mine:
            tables.append(table())  # pydantic takes defaults as they are, and its adapter takes time to make
            continue
        adapter = adapter_of(table)
        try:
            tables.append(adapter.validate_python(mine))
        except ValidationError as error:
            problems |= _refused(error, declared.options, known)
            tables.append(adapter.validate_python({name: mine[name] for name in mine if name not in problems}))
    return tables, problems


def _refused(error: ValidationError, options: Mapping[str, Option], known: Mapping[str, Given]) -> dict[str, Problem]:
    """Return one problem an option; a union reports once for each of its members."""
    problems: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0])
        index = next((part for part in detail["loc"][1:] if isinstance(part, int)), None)
        given = known[name]
        if index is not None:
            given = replace(given, place=given.item_place(index))
        reason = detail["msg"] if detail["type"] in _OWN_MESSAGES else ""
        problems.setdefault(name, mistyped(options[name], given, reason=reason))
    return problems
