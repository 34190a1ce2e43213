"""Options as text, for `loracore options` and the help of run commands."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent, wrap
from typing import Any

from loracore.config.declared import Declared, Option
from loracore.config.values import bound_text

_WIDTH = 100
_TYPE_NAMES = {bool: "true/false", int: "int", float: "float", str: "text"}


def options_text(declared: Declared) -> str:
    """Return every option with type, range or choices, default, owner and help, table by table."""
    return "\n".join(line for table in declared.tables for line in _table_lines(table, declared))


def _table_lines(table: type, declared: Declared) -> Iterator[str]:
    options = [option for option in declared.options.values() if option.table is table]
    if not options:
        return
    summary = (table.__doc__ or "").strip().partition("\n")[0]
    yield f"{table.__name__} ({options[0].owner}): {summary}"
    for option in options:
        yield f"  --{option.name} {option_type(option)}".rstrip() + f"  [{_default_text(option)}]"
        note = "; also in network_args" if option.network_arg else ""
        yield indent("\n".join(wrap(option.help + note, _WIDTH - 6)), " " * 6)
    yield ""


def option_type(option: Option) -> str:
    """Return what stands behind an option on the command line: ``int, at least 1``; nothing behind a switch."""
    if option.shape == "switch":
        return ""
    names = [_TYPE_NAMES.get(kind, kind.__name__) for kind in option.kinds]
    text = "|".join([*names, *map(str, option.choices)]) or "value"
    if option.shape == "list":
        text += " ..."
    return ", ".join([text, *map(bound_text, option.bounds)])


def _default_text(option: Option) -> str:
    default: Any = option.default
    if default is None or default == ():
        return "unset"
    if isinstance(default, bool):
        return "on" if default else "off"
    return " ".join(map(str, default)) if isinstance(default, tuple) else f"{default}"
