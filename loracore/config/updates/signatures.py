"""What arguments classes of other packages take: read from their source, so that nothing is imported, torch least."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from loracore.errors import Problem, did_you_mean

_MOST_REEXPORTS = 4  # a package's __init__.py hands on what its files hold


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments that a class can be made with."""

    kind: str
    defaults: Mapping[str, Any]  # by name; None too where a default is nothing that could be read
    anything: bool  # takes names besides these


def written_signature(module: str, kind: str) -> Signature | None:
    """Return what the source of an installed class says; None where it does not say it plainly."""
    for _ in range(_MOST_REEXPORTS):
        file = _source(module)
        if file is None:
            return None
        tree = ast.parse(file.read_bytes())
        found = next((one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == kind), None)
        if found is not None:
            return _of_class(found)
        origin = _origin(tree, kind, module if file.name == "__init__.py" else module.rpartition(".")[0])
        if origin is None:
            return None
        module, kind = origin
    return None


def imported_signature(kind: type[Any]) -> Signature:
    """Return what a class that is there takes."""
    parameters = inspect.signature(kind).parameters.values()
    named = [one for one in parameters if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]
    defaults = {one.name: None if one.default is one.empty else one.default for one in named}
    return Signature(kind.__name__, defaults, any(one.kind is one.VAR_KEYWORD for one in parameters))


def argument_problems(
    signature: Signature, arguments: Mapping[str, Any], ours: AbstractSet[str], option: str
) -> Iterator[Problem]:
    """Give a problem for each argument that a class does not take, or that is ``ours`` to give.

    And for each that is text, where the default is a number, several of them, or a switch.
    """
    known = signature.defaults.keys() - ours
    for name, value in arguments.items():
        if name in ours or (name not in known and not signature.anything):
            message = f"{signature.kind} takes no argument '{name}'"
            yield Problem(message, f"--{option}", did_you_mean(name, known))
        elif isinstance(value, str) and isinstance(signature.defaults.get(name), (bool, int, float, tuple)):
            message = f"{signature.kind} cannot take {name}={value}, which is text"
            yield Problem(message, f"--{option}", f"its default is {signature.defaults[name]}")


def written_problems(
    module: str, kind: str, arguments: Mapping[str, Any], ours: AbstractSet[str], option: str
) -> Iterator[Problem]:
    """Give the problems of arguments as far as the source of a class tells, which is not imported."""
    signature = written_signature(module, kind)
    if signature is not None:
        yield from argument_problems(signature, arguments, ours, option)


def _source(module: str) -> Path | None:
    """Return the file of a module, whose package is looked for and not imported."""
    top, *rest = module.split(".")
    with suppress(ImportError, ValueError):
        spec = find_spec(top)
        folders = [] if spec is None else [Path(one) for one in spec.submodule_search_locations or ()]
        for folder in folders:
            place = folder.joinpath(*rest)
            found = [one for one in (place.with_suffix(".py"), place / "__init__.py") if rest or one.parent == folder]
            return next((one for one in found if one.is_file()), None)
        if spec is not None and not rest and str(spec.origin).endswith(".py"):
            return Path(str(spec.origin))
    return None


def _origin(tree: ast.Module, kind: str, package: str) -> tuple[str, str] | None:
    """Return the module and the name that a file imports a class from."""
    imports = (one for one in tree.body if isinstance(one, ast.ImportFrom))
    named = ((each, one.name) for each in imports for one in each.names if (one.asname or one.name) == kind)
    statement, name = next(named, (None, ""))
    if statement is None:
        return None
    above = package.split(".")[: len(package.split(".")) - (statement.level - 1)] if statement.level else []
    return ".".join([*above, *([statement.module] if statement.module else [])]), name


def _of_class(found: ast.ClassDef) -> Signature | None:
    made = next((one for one in found.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if made is None or made.decorator_list:
        return None
    plain = [*made.args.posonlyargs, *made.args.args][1:]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(made.args.defaults))
    pairs = [
        *zip(plain, [*missing, *made.args.defaults], strict=True),
        *zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True),
    ]
    defaults = {one.arg: None if default is None else _literal(default) for one, default in pairs}
    return Signature(found.name, defaults, made.args.kwarg is not None)


def _literal(written: ast.expr) -> Any:
    try:
        return ast.literal_eval(written)
    except ValueError:  # computed
        return None
