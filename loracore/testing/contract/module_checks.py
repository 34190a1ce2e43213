"""What the module of any plugin must be: light, spelt as the hooks are, its options frozen tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import FunctionType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from loracore import hookspecs
from loracore.config.config import default_of
from loracore.config.declared import declare
from loracore.config.options import CORE_OPTIONS
from loracore.errors import PluginError, did_you_mean
from loracore.plugin_faults import unknown_hook
from loracore.testing.contract.annotations import wrong_annotations
from loracore.testing.contract.faults import Fault, any_error_is, gathered, place
from loracore.testing.contract.importing import import_faults
from loracore.testing.contract.subject import Subject

_MARK = "loracore_impl"  # what `hookimpl` leaves on a function
Hook = Callable[..., Any]


def module_faults(subject: Subject) -> list[Fault]:
    """Return what is wrong with a plugin's module, whatever its kind; no hook but ``options`` is called.

    Looked at are its import (without torch, in a process of its own), names, arguments and annotations of its hooks,
    and the tables of its options.
    """
    found = gathered(lambda: _hook_faults(subject), lambda: option_faults(subject))
    imported = import_faults(subject.plugin)
    if found:  # each is said with its place; `loracore plugins --check` knows the first one, without
        imported = [fault for fault in imported if "torch" in fault.message]
    return [*imported, *found]


def specified_hooks() -> Mapping[str, Hook]:
    """Return every hook's specification by its name."""
    return {name: one for name, one in vars(hookspecs).items() if "loracore_spec" in _attributes(one)}


def implementations(subject: Subject) -> Mapping[str, Hook]:
    """Return the functions of the plugin's module that are marked as hooks, by the hooks' names."""
    marked = {name: one for name, one in vars(subject.module).items() if _MARK in _attributes(one)}
    return {vars(one)[_MARK].get("specname") or name: one for name, one in marked.items()}


def _attributes(value: object) -> Mapping[str, Any]:
    return vars(value) if isinstance(value, FunctionType) else {}


def _hook_faults(subject: Subject) -> Iterator[Fault]:
    specified, marked = specified_hooks(), implementations(subject)
    for name, implementation in marked.items():
        if name in specified:
            yield from _argument_faults(name, implementation)
            yield from _annotation_faults(name, implementation)
        else:
            said = unknown_hook(name, specified, marked)
            yield Fault(name, place(implementation), said.message, said.fix)
    for name, one in vars(subject.module).items():
        if name in specified and isinstance(one, FunctionType) and name not in marked:
            yield Fault(name, place(one), "it is no hook, so that nobody calls it", "mark it with @hookimpl")


def _argument_faults(name: str, implementation: Hook) -> Iterator[Fault]:
    known = inspect.signature(vars(hookspecs)[name]).parameters
    for argument in inspect.signature(implementation).parameters:
        if argument not in known:
            offered = ", ".join(known) or "none"
            fix = did_you_mean(argument, known) or f"its arguments are: {offered}"
            yield Fault(name, place(implementation), f"the hook has no argument '{argument}'", fix)


def _annotation_faults(name: str, implementation: Hook) -> Iterator[Fault]:
    wrapper = bool(vars(implementation)[_MARK].get("wrapper"))
    for argument, expected in wrong_annotations(implementation, name, wrapper=wrapper):
        what = "the answer" if argument == "return" else f"argument '{argument}'"
        message = f"{what} is annotated as something else than {expected}"
        yield Fault(name, place(implementation), message, f"annotate it as {expected}, and make it that")


def option_faults(subject: Subject) -> Iterator[Fault]:
    """Give what is wrong with the answer of ``options``: its tables, their fields and defaults.

    Raises CannotGoOn where it has none.
    """
    answer = implementations(subject).get("options")
    if answer is None:
        return
    with any_error_is(partial(subject.raised, "options", "return a tuple of option tables")):
        tables = answer()
    if not isinstance(tables, tuple | list) or not all(isinstance(table, type) for table in tables):
        message = f"returns {type(tables).__name__} {tables!r}, no tuple of classes"
        yield subject.fault("options", message, "return the option dataclasses: return (MyOptions,)")
        return
    for table in tables:
        yield from _table_faults(table, subject)


def _table_faults(table: type, subject: Subject) -> Iterator[Fault]:
    hook, where = f"options of {table.__name__}", place(table)
    if not is_dataclass(table):
        yield Fault(hook, where, "it is no dataclass", "write @dataclass(frozen=True, slots=True) above it")
        return
    if not vars(table)["__dataclass_params__"].frozen:
        message = "it is not frozen, so that a hook could change what another reads"
        yield Fault(hook, where, message, "write @dataclass(frozen=True, slots=True)")
    owner = f"{subject.plugin.kind} {subject.plugin.name}"
    try:
        declare([("core", CORE_OPTIONS), (owner, (table,))])
    except PluginError as error:
        fix = 'write name: Annotated[type, option("one line of help")] = default'
        yield from (Fault(hook, where, problem.message, problem.fix or fix) for problem in error.problems)
        return
    yield from _default_faults(table, hook, where)


def _default_faults(table: type, hook: str, where: str) -> Iterator[Fault]:
    hints = get_type_hints(table, include_extras=True)
    for field in fields(table):
        adapter: TypeAdapter[Any] = TypeAdapter(hints[field.name])
        default = default_of(field)
        try:
            adapter.validate_python(default, strict=True)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"]
            message = f"the default of {field.name}, {default!r}, is none of its own values: {said}"
            yield Fault(hook, where, message, "give a default of the type and in the range of the option")
