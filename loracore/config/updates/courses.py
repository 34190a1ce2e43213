"""Courses of the learning rate: factors on every group's rate, by optimizer step. Arithmetic alone, no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from loracore.config.options import TrainingOptions
from loracore.config.updates.schedule_names import ARGS, course_arguments
from loracore.errors import ConfigError

#: Factor in force before an optimizer step (0-based).
Factor = Callable[[int], float]
#: Factor by the share of the way behind the warm-up that is done, 0 to 1.
Shape = Callable[[float], float]


def schedule_factor(training: TrainingOptions, steps: int) -> Factor:
    """Return the factor on the rates of a run of so many optimizer steps, for a course that has a name.

    Neither accumulation nor the number of processes plays a part. Raises ConfigError for arguments that the course
    does not take.
    """
    arguments = course_arguments(training)
    warmup = share_of_steps(training.lr_warmup_steps, steps)
    if training.lr_scheduler == "piecewise_constant":
        return _pieces(arguments)
    if training.lr_scheduler == "inverse_sqrt":
        return _inverse_sqrt(warmup, training.lr_scheduler_timescale)
    if training.lr_scheduler == "warmup_stable_decay":
        return _warmup_stable_decay(training, arguments, steps)
    return _behind_warmup(_shape(training, arguments), warmup, steps)


def share_of_steps(given: int | float, steps: int) -> int:  # noqa: PYI041  # which of both it is makes the difference
    """Return a warm-up or decay in optimizer steps: a float up to 1 is a share of all steps."""
    return int(given * steps) if isinstance(given, float) and given <= 1 else int(given)


def _behind_warmup(shape: Shape, warmup: int, steps: int) -> Factor:
    """Return a linear rise from 0 over the warm-up, and the shape over the rest."""

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return shape((step - warmup) / max(1, steps - warmup))

    return factor


def _shape(training: TrainingOptions, arguments: Mapping[str, Any]) -> Shape:
    """Return the shape behind the warm-up. Cosines: Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5."""
    cycles, name = training.lr_scheduler_num_cycles, training.lr_scheduler
    if name == "linear":
        return lambda done: max(0.0, 1 - done)
    if name == "cosine":
        periods = float(arguments.get("num_cycles", 0.5))
        return lambda done: max(0.0, _cosine(2 * periods * done))
    if name == "cosine_with_restarts":
        return lambda done: 0.0 if done >= 1 else max(0.0, _cosine(math.fmod(cycles * done, 1)))
    if name == "polynomial":
        end, power = _end(training, arguments), training.lr_scheduler_power
        return lambda done: end if done > 1 else (1 - end) * (1 - done) ** power + end
    if name == "cosine_with_min_lr":
        least = _least(training, arguments)
        return lambda done: max(0.0, _between(_cosine(cycles * done), least))
    if name in {"constant", "constant_with_warmup"}:
        return lambda _: 1.0
    raise KeyError(name)


def _cosine(half_periods: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * half_periods))


def _between(factor: float, least: float) -> float:
    """Return a factor of 0 to 1 as one of least to 1."""
    return factor * (1 - least) + least


def _end(training: TrainingOptions, arguments: Mapping[str, Any]) -> float:
    """Return the last factor of the polynomial course: lr_end is a rate, to be compared with learning_rate."""
    end = float(arguments.get("lr_end", 1e-7))
    if not end < training.learning_rate:
        message = f"polynomial ends at {end:g}, which is not below learning_rate = {training.learning_rate:g}"
        raise ConfigError(message, where=f"--{ARGS}", fix="give a smaller lr_end=…")
    return end / training.learning_rate


def _least(training: TrainingOptions, arguments: Mapping[str, Any]) -> float:
    """Return the smallest factor of cosine_with_min_lr; min_lr is a rate, to be compared with learning_rate."""
    if training.lr_scheduler_min_lr_ratio is not None:
        return training.lr_scheduler_min_lr_ratio
    if "min_lr" not in arguments:
        message = "cosine_with_min_lr needs a smallest learning rate"
        raise ConfigError(message, where="--lr_scheduler", fix="give --lr_scheduler_min_lr_ratio 0.1, or choose cosine")
    if not 0 <= arguments["min_lr"] <= training.learning_rate or not training.learning_rate:
        message = f"min_lr={arguments['min_lr']} is not between 0 and learning_rate = {training.learning_rate:g}"
        raise ConfigError(message, where=f"--{ARGS}")
    return float(arguments["min_lr"]) / training.learning_rate


def _inverse_sqrt(warmup: int, timescale: int | None) -> Factor:
    """Return a fall with the root of the steps (Zhai et al. 2022, arXiv 2106.04560, appendix on the course)."""
    scale = timescale or warmup or 10_000

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return 1 / math.sqrt((step - warmup + scale) / scale)

    return factor


def _warmup_stable_decay(training: TrainingOptions, arguments: Mapping[str, Any], steps: int) -> Factor:
    """Return a rise, a plateau, and a fall at the end (Hu et al. 2024, arXiv 2404.06395, section 4)."""
    warmup, decay = (share_of_steps(one, steps) for one in (training.lr_warmup_steps, training.lr_decay_steps))
    least, begin = training.lr_scheduler_min_lr_ratio or 0.0, steps - decay
    if warmup > begin:
        message = f"a warm-up of {warmup} and a decay of {decay} steps are longer than the run of {steps}"
        raise ConfigError(message, where="--lr_decay_steps", fix="train longer, or give shares such as 10%")
    rise = _ramp(str(arguments.get("warmup_type", "linear")), 1)
    fall = _ramp(str(arguments.get("decay_type", "cosine")), training.lr_scheduler_num_cycles)

    def factor(step: int) -> float:
        if step < warmup:
            return _between(rise(1 - step / warmup), least)
        if step < begin:
            return 1.0
        return _between(fall((step - begin) / decay), least) if step < steps else least

    return factor


def _ramp(kind: str, cycles: int) -> Shape:
    """Return a fall from 1 to 0; read backwards, it is a rise."""
    shapes: dict[str, Shape] = {
        "linear": lambda done: 1 - done,
        "cosine": lambda done: _cosine(cycles * done),
        "1-sqrt": lambda done: 1 - math.sqrt(done),
    }
    return shapes[kind]


def _pieces(arguments: Mapping[str, Any]) -> Factor:
    """Return the course of rules ``factor:step,…,factor``: each factor holds up to its step, the last for ever."""
    fix = 'give --lr_scheduler_args "step_rules=1:10,0.1:50,0.01": 1 up to step 10, 0.1 up to 50, 0.01 behind'
    if "step_rules" not in arguments:
        raise ConfigError("piecewise_constant needs step_rules", where=f"--{ARGS}", fix=fix)
    *rules, last = str(arguments["step_rules"]).split(",")
    try:
        found = [(int(until), float(factor)) for factor, until in (rule.split(":") for rule in rules)]
        behind = float(last)
    except ValueError as error:
        message = f"'{arguments['step_rules']}' are no rules for steps"
        raise ConfigError(message, where=f"--{ARGS}", fix=fix) from error
    ordered = sorted(found)
    return lambda step: next((factor for until, factor in ordered if step < until), behind)
