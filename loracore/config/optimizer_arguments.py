"""Arguments of optimizers as the user writes them, and what they make of the learning rate; no torch here."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from loracore.config.optimizer_names import ARGUMENTS, optimizer_name
from loracore.config.options import TrainingOptions
from loracore.errors import ConfigError

_WORDS = (("true", True), ("false", False), ("null", None), ("none", None))


def parse_arguments(items: Sequence[str], option: str) -> dict[str, Any]:
    """Return ``key=value`` items as a dictionary: Python literals, true/false/null, otherwise text.

    The first ``=`` of an item divides it; ``0.9,0.999`` is a tuple. Raises ConfigError for an item without key, and
    for a key that stands there twice.
    """
    found: dict[str, Any] = {}
    for item in items:
        name, value = _parse(item, option)
        if name in found:
            message = f"'{name}' is given twice"
            raise ConfigError(message, where=f"--{option}", fix="leave one of them out")
        found[name] = value
    return found


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


def _parse(item: str, option: str) -> tuple[str, Any]:
    name, equals, text = item.partition("=")
    if not equals or not name.strip().isidentifier():
        message = f"'{item}' is not key=value"
        raise ConfigError(message, where=f"--{option}")
    for word, value in _WORDS:
        if text.strip().lower() == word:
            return name.strip(), value
    try:
        return name.strip(), ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return name.strip(), text.strip()
