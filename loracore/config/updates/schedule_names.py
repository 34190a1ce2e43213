"""The courses of learning rates by their names: which options and arguments each of them heeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from loracore.config.options import TrainingOptions
from loracore.config.updates.optimizer_arguments import read_arguments
from loracore.errors import ConfigError, Problem, did_you_mean

ARGS = "lr_scheduler_args"
WARMUP = "lr_warmup_steps"
DECAY = "lr_decay_steps"
CYCLES = "lr_scheduler_num_cycles"
POWER = "lr_scheduler_power"
TIMESCALE = "lr_scheduler_timescale"
LEAST = "lr_scheduler_min_lr_ratio"
#: Every option that shapes some course, and no other.
SHAPING = (WARMUP, DECAY, CYCLES, POWER, TIMESCALE, LEAST)


@dataclass(frozen=True, slots=True)
class NamedSchedule:
    """What a course heeds beside its name."""

    options: frozenset[str]
    #: of lr_scheduler_args, and their types
    arguments: Mapping[str, type | tuple[type, ...]] = field(default_factory=lambda: MappingProxyType({}))


_NUMBER = (int, float)
SCHEDULES: Mapping[str, NamedSchedule] = MappingProxyType(
    {
        "constant": NamedSchedule(frozenset()),
        "constant_with_warmup": NamedSchedule(frozenset({WARMUP})),
        "linear": NamedSchedule(frozenset({WARMUP})),
        "cosine": NamedSchedule(frozenset({WARMUP}), MappingProxyType({"num_cycles": _NUMBER})),
        "cosine_with_restarts": NamedSchedule(frozenset({WARMUP, CYCLES})),
        "polynomial": NamedSchedule(frozenset({WARMUP, POWER}), MappingProxyType({"lr_end": _NUMBER})),
        "inverse_sqrt": NamedSchedule(frozenset({WARMUP, TIMESCALE})),
        "cosine_with_min_lr": NamedSchedule(frozenset({WARMUP, CYCLES, LEAST}), MappingProxyType({"min_lr": _NUMBER})),
        "warmup_stable_decay": NamedSchedule(
            frozenset({WARMUP, DECAY, CYCLES, LEAST}), MappingProxyType({"warmup_type": str, "decay_type": str})
        ),
        "piecewise_constant": NamedSchedule(frozenset(), MappingProxyType({"step_rules": (str, int, float)})),
    }
)

#: Shapes of the rise and the fall of warmup_stable_decay.
RAMPS = ("linear", "cosine", "1-sqrt")

#: Courses of torch.optim.lr_scheduler that need nothing but numbers; known here without torch.
TORCH_SCHEDULES = (
    *("ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LinearLR"),
    *("MultiStepLR", "OneCycleLR", "PolynomialLR", "StepLR"),
)

#: Its other classes, and why they cannot be chosen.
REFUSED_SCHEDULES: Mapping[str, str] = MappingProxyType(
    {
        "ReduceLROnPlateau": "it follows a measure that is known at times only, not after every step",
        "LambdaLR": "it needs a function, which options cannot give",
        "MultiplicativeLR": "it needs a function, which options cannot give",
        "SequentialLR": "it needs other courses, which options cannot give",
        "ChainedScheduler": "it needs other courses, which options cannot give",
        "LRScheduler": "it is what other courses are made of",
    }
)


def course_arguments(training: TrainingOptions) -> dict[str, Any]:
    """Return ``lr_scheduler_args`` of a named course; raises ConfigError with every item that it does not take."""
    found, misread = read_arguments(training.lr_scheduler_args, ARGS)
    problems = (*misread, *_refused(training.lr_scheduler, found))
    if problems:
        raise ConfigError.of(problems)
    return found


def _refused(course: str, arguments: Mapping[str, Any]) -> Iterator[Problem]:
    """Give a problem for each argument that a named course does not take."""
    named, where = SCHEDULES[course], f"--{ARGS}"
    for name, value in arguments.items():
        if name not in named.arguments:
            instead = f"lr_scheduler_{name}"
            fix = f"give --{instead}" if instead in named.options else did_you_mean(name, named.arguments)
            yield Problem(f"{course} takes no argument '{name}'", where, fix)
        elif not isinstance(value, named.arguments[name]) or isinstance(value, bool):
            yield Problem(f"{course} cannot take {name}={value}", where)
        elif name in {"warmup_type", "decay_type"} and value not in RAMPS:
            yield Problem(f"{course} knows no {name} '{value}'", where, f"one of {', '.join(RAMPS)}")
