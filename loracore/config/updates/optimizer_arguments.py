"""Arguments of optimizers as the user writes them, and what they make of the learning rate."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from loracore.config.options import TrainingOptions
from loracore.config.updates.optimizer_names import ARGUMENTS, optimizer_name
from loracore.errors import ConfigError, Problem

_WORDS = (("true", True), ("false", False), ("null", None), ("none", None))


def parse_arguments(items: Sequence[str], option: str) -> dict[str, Any]:
    """Return ``key=value`` items as a dictionary: Python literals, true/false/null, otherwise text.

    The first ``=`` of an item divides it; ``0.9,0.999`` is a tuple. Raises ConfigError with every item that has no key,
    and every key that stands there twice.
    """
    found, problems = read_arguments(items, option)
    if problems:
        raise ConfigError.of(problems)
    return found


def read_arguments(items: Sequence[str], option: str) -> tuple[dict[str, Any], list[Problem]]:
    """Return the items that are ``key=value``, as ``parse_arguments`` does, and a problem for each other."""
    found: dict[str, Any] = {}
    problems = []
    for item in items:
        name, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not name.isidentifier():
            problems.append(Problem(f"'{item}' is not key=value", f"--{option}"))
        elif name in found:
            problems.append(Problem(f"'{name}' is given twice", f"--{option}", "leave one of them out"))
        else:
            found[name] = _value(text)
    return found, problems


def optimizer_arguments(training: TrainingOptions) -> dict[str, Any]:
    """Return the optimizer's arguments with those that its name implies, as headers of saved files show them.

    Of Adafactor's, warmup_init includes relative_step, as in the field.
    """
    name = optimizer_name(training)
    given = parse_arguments(training.optimizer_args, "optimizer_args")
    found = {**given, **{key: value for key, value in ARGUMENTS.get(name, {}).items() if key not in given}}
    if name == "Adafactor" and found.get("warmup_init"):
        return {**found, "relative_step": True}
    return found


def finds_own_rates(training: TrainingOptions) -> bool:
    """Tell whether the optimizer takes no learning rate: Adafactor does not, unless relative_step is False."""
    return optimizer_name(training) == "Adafactor" and bool(optimizer_arguments(training).get("relative_step", True))


def _value(text: str) -> Any:
    for word, value in _WORDS:
        if text.lower() == word:
            return value
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
