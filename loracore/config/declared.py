"""The options of one run as data, taken from the dataclasses that declare them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from loracore.config.annotated_fields import annotations_of
from loracore.config.refused import Refusal
from loracore.errors import PluginError, Problem

#: How many values an option takes: a switch none, a list any number.
Shape = Literal["switch", "one", "list"]
#: JSON Schema's word for a bound, and its value.
Bound = tuple[Literal["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"], float]
_FIELD_FIX = 'write name: Annotated[type, option("one line of help")] = default'


@dataclass(frozen=True, slots=True)
class Option:
    """One option: a field of a table, and everything that help, completion and messages say of it."""

    name: str
    owner: str  # "core", "architecture NAME", "network NAME", "extension NAME"
    table: type
    help: str
    default: Any
    shape: Shape
    kinds: tuple[type, ...]  # of one value; without choices
    choices: tuple[Any, ...]  # empty: anything of these kinds
    bounds: tuple[Bound, ...]
    network_arg: bool  # may also be given in network_args
    secret: bool  # its value is shown nowhere


@dataclass(frozen=True, eq=False, slots=True)
class Declared:
    """Every table of a run in its owners' order, every option by name, and what these tables refuse."""

    tables: tuple[type, ...]
    options: Mapping[str, Option]
    refused: Mapping[str, Refusal]

    def network_args(self) -> list[str]:
        """Return the names that may be given in ``network_args``."""
        return [name for name, option in self.options.items() if option.network_arg]


def declare(owned: Iterable[tuple[str, Iterable[type]]]) -> Declared:
    """Turn owners' tables into options; raises PluginError when a name has two owners or a field is no option."""
    options: dict[str, Option] = {}
    problems: list[Problem] = []
    tables: list[type] = []
    for owner, table in ((owner, table) for owner, several in owned for table in several):
        tables.append(table)
        for found in _table_options(owner, table):
            if isinstance(found, Problem):
                problems.append(found)
            elif found.name in options:
                problems.append(_two_owners(options[found.name], found))
            else:
                options[found.name] = found
    if problems:
        raise PluginError.of(problems)
    return Declared(tuple(tables), options, {name: why for table in tables for name, why in refused_by(table).items()})


def plugin_tables(answer: object, wrong: Callable[[str, str], PluginError]) -> tuple[type, ...]:
    """Return the option tables that a plugin answers ``options`` with.

    Where they are no dataclasses whose fields are options, raises what ``wrong`` makes of what the plugin does, and of
    its cure.
    """
    if not isinstance(answer, (tuple, list)) or not all(isinstance(table, type) for table in answer):
        given = f"the class {answer.__name__}" if isinstance(answer, type) else repr(answer)
        fix = "return the option dataclasses: return (MyOptions,)"
        raise wrong(f"gives {given}, and no tuple of classes, as its answer to", fix)
    problems = [wrong(f"{does}, in its answer to", fix) for table in answer for does, fix in _table_faults(table)]
    if problems:
        raise PluginError.of(problem for error in problems for problem in error.problems)
    return tuple(answer)


def _table_faults(table: type) -> Iterator[tuple[str, str]]:
    """Give what a plugin does wrong with a table, and the cure."""
    if not is_dataclass(table):
        yield f"gives {table.__name__}, which is no dataclass", "write @dataclass(frozen=True, slots=True) above it"
        return
    try:
        for found in _table_options("", table):
            if isinstance(found, Problem):
                yield f"gives a table whose {found.message}", found.fix
    except (NameError, TypeError) as error:
        yield f"gives {table.__name__}, whose fields cannot be read: {type(error).__name__}: {error}", _FIELD_FIX


def refused_by(table: type) -> Mapping[str, Refusal]:
    """Return the options of other kinds of plugins that a table refuses with a reason: its class variable REFUSES."""
    found: Mapping[str, Refusal] = vars(table).get("REFUSES", {})
    return found


def _two_owners(first: Option, second: Option) -> Problem:
    owners = " and ".join(f"{option.owner} ({option.table.__name__})" for option in (first, second))
    return Problem(f"option '{first.name}' is declared twice: by {owners}", fix="leave one of them out of the run")


def _table_options(owner: str, table: type) -> Iterator[Option | Problem]:
    for field in fields(table):
        annotation = annotations_of(table)[field.name]
        info = next((part for part in get_args(annotation)[1:] if isinstance(part, FieldInfo)), None)
        if get_origin(annotation) is not Annotated or info is None or not info.description:
            problem = "is no Annotated[type, option('help', …)]"
        elif field.default is MISSING and field.default_factory is MISSING:
            problem = "has no default"
        else:
            yield _option(owner, table, field, annotation)
            continue
        whose = f"{table.__name__} ({owner})" if owner else table.__name__
        yield Problem(f"field '{field.name}' of {whose} {problem}", fix=_FIELD_FIX)


def _option(owner: str, table: type, field: Field[Any], annotation: Any) -> Option:
    bare, *parts = get_args(annotation)
    info = next(part for part in parts if isinstance(part, FieldInfo))
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    scalars = _members(bare)
    is_list = len(scalars) == 1 and get_origin(scalars[0]) in {tuple, list}
    if is_list:
        scalars = _members(get_args(scalars[0])[0])
    choices = tuple(choice for scalar in scalars if get_origin(scalar) is Literal for choice in get_args(scalar))
    kinds = tuple(scalar for scalar in scalars if isinstance(scalar, type))
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return Option(
        name=field.name,
        owner=owner,
        table=table,
        help=str(info.description),
        default=default,
        shape="list" if is_list else "switch" if kinds == (bool,) else "one",
        kinds=kinds,
        choices=choices,
        bounds=tuple(bound for part in (*info.metadata, *parts) if (bound := _bound(part)) is not None),
        network_arg=bool(extra.get("network_arg")),
        secret=bool(extra.get("secret")),
    )


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, None left out; a plain type is its only member."""
    every = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return [member for member in every if member is not NoneType]


def _bound(part: object) -> Bound | None:
    match part:
        case annotated_types.Ge(ge=limit):
            return "minimum", float(str(limit))
        case annotated_types.Gt(gt=limit):
            return "exclusiveMinimum", float(str(limit))
        case annotated_types.Le(le=limit):
            return "maximum", float(str(limit))
        case annotated_types.Lt(lt=limit):
            return "exclusiveMaximum", float(str(limit))
        case _:
            return None
