"""Arguments of optimizers as the user writes them, and what they make of the learning rate; no torch here."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from loracore.config.options import TrainingOptions
from loracore.errors import ConfigError


def parse_arguments(items: Sequence[str], option: str) -> dict[str, Any]:
    """Return ``key=value`` items as a dictionary: Python literals, true/false/null, otherwise text."""
    return dict(_parse(item, option) for item in items)


def optimizer_arguments(training: TrainingOptions) -> dict[str, Any]:
    """Return the optimizer's arguments; of Adafactor's, warmup_init includes relative_step, as in the field."""
    found = parse_arguments(training.optimizer_args, "optimizer_args")
    if training.optimizer_type == "Adafactor" and found.get("warmup_init"):
        return {**found, "relative_step": True}
    return found


def finds_own_rates(training: TrainingOptions) -> bool:
    """Tell whether the optimizer takes no learning rate: Adafactor does not, unless relative_step is False."""
    return training.optimizer_type == "Adafactor" and bool(optimizer_arguments(training).get("relative_step", True))


def _parse(item: str, option: str) -> tuple[str, Any]:
    name, equals, text = item.partition("=")
    if not equals or not name.strip():
        message = f"'{item}' is not key=value"
        raise ConfigError(message, where=f"--{option}")
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.strip().lower() in words:
        return name.strip(), words[text.strip().lower()]
    try:
        return name.strip(), ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return name.strip(), text.strip()
