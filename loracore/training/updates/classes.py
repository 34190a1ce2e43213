"""Classes of other packages: imported when they are chosen, and asked what arguments they take."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from importlib import import_module
from typing import Any

from loracore.config.updates.signatures import argument_problems, imported_signature
from loracore.errors import ConfigError, did_you_mean
from loracore.memory.quiet_bitsandbytes import quiet_bitsandbytes


def imported_class(module: str, kind: str, option: str) -> type[Any]:
    """Return a class of an installed package.

    Raises ConfigError when its module cannot be imported, or has no such class (with the nearest).
    """
    with quiet_bitsandbytes():
        try:
            found = import_module(module)
        except Exception as error:  # whatever a stranger's import raises, the user must read which package it was
            message = f"{module} cannot be imported: {type(error).__name__}: {error}"
            raise ConfigError(message, where=f"--{option}", fix="repair or update the package") from error
    held = vars(found).get(kind)
    if not isinstance(held, type):
        classes = [name for name, one in vars(found).items() if isinstance(one, type)]
        raise ConfigError(f"{module} has no class '{kind}'", where=f"--{option}", fix=did_you_mean(kind, classes))
    return held


def check_arguments(kind: type[Any], arguments: Mapping[str, Any], ours: AbstractSet[str], option: str) -> None:
    """Raise ConfigError, naming each, for arguments that a class cannot take or that are ``ours`` to give."""
    problems = tuple(argument_problems(imported_signature(kind), arguments, ours, option))
    if problems:
        raise ConfigError.of(problems)
