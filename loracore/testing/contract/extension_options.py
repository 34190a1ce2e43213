"""An extension's options: another value does something, or somebody says that it does not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from loracore.config.declared import Option, declare
from loracore.errors import LoracoreError
from loracore.testing.contract.faults import CannotGoOn, Fault, place
from loracore.testing.contract.module_checks import implementations
from loracore.testing.contract.reruns import differing, trained
from loracore.testing.contract.subject import Subject

#: Hooks whose answers shape what is trained. Options of an extension that answers none of them may be about anything.
_SHAPING = frozenset(
    {
        "load_models",
        "encode_text",
        "encode_images",
        "lora_targets",
        "build_adapter",
        "prepare_batch",
        "draw_timesteps",
        "draw_noise",
        "noise_latents",
        "predict_noise",
        "loss_weighting",
    }
)
_TRIED = 3  # of many choices
_ASIDE = 0.01  # how much of the way from a bound that is no value itself to the value stays
_ALL = 1e9  # beyond this no bound is met


def option_effect_faults(subject: Subject, first: Mapping[str, Tensor]) -> Iterator[Fault]:
    """Give the options of an extension that shapes training which change nothing, silently.

    Another value must leave another file than ``first``, be refused, or be told of in the run's header. Options that
    say of themselves that they shape nothing (``neutral``, ``secret``), texts and lists are left out.
    """
    own = implementations(subject)
    if not _SHAPING & set(own) or "options" not in own:
        return
    declared = declare([(f"extension {subject.plugin.name}", own["options"]())])
    request = subject.request()
    shaping, current = request.config.shaping(), dict(request.config)
    for option in declared.options.values():
        values = other_values(option, current[option.name]) if option.name in shaping else []
        if values and not any(_shows(subject, option.name, value, first, request.notes) for value in values):
            tried = ", ".join(map(repr, values))
            message = f"another value changes neither the trained file nor what the run says of itself (tried: {tried})"
            fix = (
                f"use config[{option.table.__name__}].{option.name} in a hook, let check_options say"
                ' Finding("without effect", …), or declare it neutral'
            )
            yield Fault(f"option {option.name}", place(option.table), message, fix)


def _shows(subject: Subject, name: str, value: Any, first: Mapping[str, Tensor], notes: tuple[str, ...]) -> bool:
    try:
        if subject.request(**{name: value}).notes != notes:
            return True
        return bool(differing(first, trained(subject, f"{name}-{value}", **{name: value})))
    except LoracoreError:
        return True  # somebody looks at it
    except CannotGoOn as end:
        if isinstance(end.__cause__, LoracoreError):
            return True
        raise


def other_values(option: Option, value: Any) -> list[Any]:
    """Return other values that an option may have, likely ones first and its bounds last; none for texts and lists."""
    if option.shape == "list":
        return []
    if option.shape == "switch":
        return [not value]
    if option.choices:
        return [choice for choice in option.choices if choice != value][:_TRIED]
    number = value if isinstance(value, int | float) else 1
    if float in option.kinds:
        numbers: list[float] = [number * 2.0, number / 2, number + 1.0, number - 1.0]
        numbers += [_beside(limit, number) if "exclusive" in kind else limit for kind, limit in option.bounds]
    elif int in option.kinds:
        numbers = [number + 1, number - 1, number * 2, number // 2]
        numbers += [_whole(kind, limit) for kind, limit in option.bounds if abs(limit) < _ALL]
    else:
        return []
    return [one for one in dict.fromkeys(numbers) if one != value and _fits(option, one)]


def _beside(limit: float, number: float) -> float:
    return limit + (number - limit) * _ASIDE


def _whole(kind: str, limit: float) -> int:
    """Return the whole number that meets a bound and lies nearest to it."""
    if kind.lower().endswith("minimum"):
        return math.floor(limit) + 1 if "exclusive" in kind else math.ceil(limit)
    return math.ceil(limit) - 1 if "exclusive" in kind else math.floor(limit)


def _fits(option: Option, number: float) -> bool:
    met = {
        "minimum": lambda limit: number >= limit,
        "exclusiveMinimum": lambda limit: number > limit,
        "maximum": lambda limit: number <= limit,
        "exclusiveMaximum": lambda limit: number < limit,
    }
    return abs(number) < _ALL and all(met[kind](limit) for kind, limit in option.bounds)
