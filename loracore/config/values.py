"""One value against its option: what counts as which type, and what a message says was expected."""

from __future__ import annotations

import math
from typing import Any

from loracore.config.declared import Bound, Option
from loracore.config.given import Given
from loracore.errors import Problem, did_you_mean

_KIND_NAMES = ((bool, "true or false"), (int, "a whole number"), (float, "a number"), (str, "text"))
_BOUND_NAMES = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_SWITCH = {"true": True, "false": False}


def converted(option: Option, value: Any) -> Any:
    """Return a raw value as the command line would read it: "8" as 8, a single value of a list as a list of one.

    What cannot be read is returned as it is, for pydantic to refuse; raises ValueError for what pydantic would take but
    no command line could mean: true for a number, a number for a switch; and for numbers that are not finite, each item
    of a list by itself.
    """
    if option.shape == "list":
        items = value if isinstance(value, (list, tuple)) else (value,)
        return tuple(_scalar(option, item) for item in items)
    return _scalar(option, value)


def _scalar(option: Option, value: Any) -> Any:
    for choice in option.choices:
        if str(choice) == str(value) and not isinstance(value, bool):
            return choice
    if bool in option.kinds and isinstance(value, str):
        return _SWITCH.get(value.lower(), value)
    is_truth = isinstance(value, bool)
    if (is_truth and bool not in option.kinds) or (not is_truth and option.kinds == (bool,)):
        raise ValueError(value)
    if option.kinds == (str,) and isinstance(value, (int, float)):
        return str(value)
    if float in option.kinds and str not in option.kinds and _is_endless(value):
        raise ValueError(value)
    return value


def _is_endless(value: Any) -> bool:
    """Tell whether a raw value is read as a number that is infinite or none at all."""
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def expected(option: Option) -> str:
    """Return what an option takes, in words: ``a whole number, at least 1``."""
    kinds = [word for kind, word in _KIND_NAMES if kind in option.kinds]
    kinds += [kind.__name__ for kind in option.kinds if kind not in {known for known, _ in _KIND_NAMES}]
    if option.choices:
        kinds.append(("one of " if len(option.choices) > 1 else "") + ", ".join(map(str, option.choices)))
    limits = "".join(f", {bound_text(bound)}" for bound in option.bounds)
    return ("a list, each item " if option.shape == "list" else "") + " or ".join(kinds or ["a value"]) + limits


def bound_text(bound: Bound) -> str:
    """Return a bound in words: ``at least 1``."""
    limit = int(bound[1]) if bound[1].is_integer() else bound[1]
    return f"{_BOUND_NAMES[bound[0]]} {limit}"


def shown(value: Any) -> str:
    """Return a raw value as a person wrote it, more or less."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value)


def mistyped(option: Option, given: Given, *, reason: str = "") -> Problem:
    """Return the problem of a value that is not what its option takes; ``reason`` is a validator's own message."""
    guess = did_you_mean(str(given.value), map(str, option.choices)) if option.choices else ""
    message = reason or f"must be {expected(option)}, not {'what is given' if option.secret else shown(given.value)}"
    subject = "" if given.place == f"--{option.name}" else f"{option.name}: "
    return Problem(f"{subject}{message}", given.place, guess)
