"""The annotations of option tables, each table read once: Python evaluates their text anew every time it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import TypeAdapter


@cache
def annotations_of(table: type) -> Mapping[str, Any]:
    """Return the type of each field of a table, ``Annotated`` with what `option` noted; NameError, TypeError pass."""
    return MappingProxyType(get_type_hints(table, include_extras=True))


@cache
def adapter_of(table: type) -> TypeAdapter[Any]:
    """Return what makes a table from values and checks them; pydantic takes longer to make it than to use it."""
    return TypeAdapter(table)
