"""Types of a hook's implementation against those of its specification."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from loracore import hookspecs


def wrong_annotations(implementation: Callable[..., Any], hook: str, *, wrapper: bool) -> Iterator[tuple[str, str]]:
    """Give (name, type of the specification) for arguments that take less than they get, and answers that say more.

    The name of an answer is "return". Without annotations nothing is said; one that names what the file does not import
    is a type checker's business.
    """
    own, specified = _hints(implementation), _hints(vars(hookspecs)[hook])
    for name, found in own.items():
        if name not in specified:
            continue
        asked = specified[name]
        if name == "return":
            answer = get_args(found)[-1] if wrapper and get_origin(found) is Generator else found
            fits = accepts(asked, answer)
        else:
            fits = accepts(found, asked)
        if not fits:
            yield name, _name(asked)


def accepts_answer(hook: str, answer: object) -> bool:
    """Tell whether an answer is of the type that a hook's specification asks for."""
    return accepts(_hints(vars(hookspecs)[hook]).get("return", Any), type(answer))


def accepts(wide: Any, narrow: Any) -> bool:
    """Tell whether every value of the type ``narrow`` is one of ``wide``; Any fits everywhere."""
    if wide in {Any, object} or narrow is Any or wide == narrow:
        return True
    if get_origin(narrow) in {Union, UnionType}:
        return all(accepts(wide, one) for one in get_args(narrow))
    if get_origin(wide) in {Union, UnionType}:
        return any(accepts(one, narrow) for one in get_args(wide))
    kinds = [get_origin(one) or one for one in (wide, narrow)]
    if not all(isinstance(kind, type) for kind in kinds):
        return False
    if not issubclass(kinds[1], kinds[0]) and kinds != [float, int]:
        return False
    inner = zip(_inner(wide), _inner(narrow), strict=False)  # tuple[int, ...] is a Sequence[int]
    return all(accepts(*pair) for pair in inner)


def _inner(kind: Any) -> list[Any]:
    return [one for one in get_args(kind) if one is not Ellipsis]


def _name(kind: Any) -> str:
    if kind is NoneType:
        return "None"
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's types, names that its file imports for type checkers alone included."""
    function = inspect.unwrap(function)
    module = sys.modules[function.__module__]
    names = {**vars(module), **_imported_for_types(Path(inspect.getfile(function)))}
    try:
        return get_type_hints(function, globalns=names)
    except (NameError, AttributeError, TypeError):
        return {}


def _imported_for_types(file: Path) -> dict[str, Any]:
    """Return what stands under ``if TYPE_CHECKING`` in a file, imported; what cannot be is left out."""
    found: dict[str, Any] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.If) or "TYPE_CHECKING" not in ast.unparse(node.test):
            continue
        for statement in node.body:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            try:
                exec(ast.unparse(statement), found)  # noqa: S102  # an import of the plugin's own file
            except ImportError:
                continue
    return found
