"""What contradicts a course of learning rates, or is without effect under it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loracore import Finding, TrainingOptions
from loracore.config.config import Config
from loracore.config.updates.courses import schedule_factor
from loracore.config.updates.optimizer_arguments import finds_own_rates, read_arguments
from loracore.config.updates.optimizer_names import is_schedule_free, optimizer_name
from loracore.config.updates.schedule_choice import OPTION, OURS, schedule_class
from loracore.config.updates.schedule_names import CYCLES, DECAY, LEAST, SCHEDULES, SHAPING, WARMUP
from loracore.config.updates.signatures import written_problems
from loracore.errors import ConfigError, Problem

NAME = "lr_scheduler"
ARGS = "lr_scheduler_args"


def schedule_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect with the course that was chosen, and with how long is trained."""
    training = config[TrainingOptions]
    if training.max_train_epochs is not None and config.given("max_train_steps"):
        yield Finding("without effect", "max_train_steps", "without effect: max_train_epochs decides")
    try:
        if finds_own_rates(training):  # the optimizer's own findings say what that means
            return
    except ConfigError:  # told with the optimizer
        return
    if is_schedule_free(training):
        yield from _schedule_free(config)
    elif training.lr_scheduler_type:
        yield from _of_class(config, training.lr_scheduler_type)
    else:
        yield from _named(config)


def findings_of(problems: Iterable[Problem]) -> Iterator[Finding]:
    """Give problems as findings."""
    for one in problems:
        yield Finding("wrong", one.where.removeprefix("--"), one.message, one.fix)


def _schedule_free(config: Config) -> Iterator[Finding]:
    because = f"without effect: {optimizer_name(config[TrainingOptions])} needs no course and keeps its learning rate"
    for name in (NAME, OPTION, ARGS, *SHAPING):
        if config.given(name):
            fix = 'give --optimizer_args "warmup_steps=…" for a warm-up' if name == WARMUP else f"leave {name} out"
            yield Finding("without effect", name, because, fix)


def _of_class(config: Config, kind: str) -> Iterator[Finding]:
    if config[TrainingOptions].lr_warmup_steps:
        message = f"{kind} has no warm-up of ours in front of it"
        yield Finding("wrong", WARMUP, message, f"leave {WARMUP} out, or choose a course by {NAME}")
    for name in (NAME, *SHAPING[1:]):
        if config.given(name):
            yield Finding("without effect", name, f"without effect: {OPTION} decides", f"leave {name} out")
    arguments, misread = read_arguments(config[TrainingOptions].lr_scheduler_args, ARGS)
    try:
        module, name = schedule_class(kind)
        misread += written_problems(module, name, arguments, OURS, ARGS)
    except ConfigError as error:
        misread += error.problems
    yield from findings_of(misread)


def _named(config: Config) -> Iterator[Finding]:
    training = config[TrainingOptions]
    course = training.lr_scheduler
    if course == "constant" and training.lr_warmup_steps:
        fix = 'set lr_scheduler = "constant_with_warmup"'
        yield Finding("wrong", WARMUP, "the constant schedule has no warm-up", fix)
    for name in SHAPING:
        unused = name not in SCHEDULES[course].options and config.given(name)
        if unused and not (course == "constant" and name == WARMUP):
            yield Finding("without effect", name, f"without effect: the {course} course does not use it", _use(name))
    if course == "warmup_stable_decay" and not training.lr_decay_steps:
        yield Finding("without effect", NAME, "warmup_stable_decay without lr_decay_steps never falls", f"give {DECAY}")
    least = [item for item in training.lr_scheduler_args if item.partition("=")[0].strip() == "min_lr"]
    if course == "cosine_with_min_lr" and training.lr_scheduler_min_lr_ratio is not None and least:
        yield Finding("wrong", ARGS, f"min_lr and {LEAST} both say the smallest learning rate", "drop one of them")
    yield from _length(training)


def _length(training: TrainingOptions) -> Iterator[Finding]:
    """Give what does not fit into the run; of a run that epochs measure, that is said when they are known."""
    steps = 2**31 if training.max_train_epochs is not None else training.max_train_steps
    if training.lr_scheduler != "warmup_stable_decay" and training.lr_warmup_steps > steps:
        message = f"the warm-up outlasts the run of {steps} steps: the learning rate is never reached"
        yield Finding("without effect", WARMUP, message, f"give a share such as {WARMUP} = 0.1")
    try:
        schedule_factor(training, steps)
    except ConfigError as error:
        yield from findings_of(error.problems)


def _use(name: str) -> str:
    """Return what to do with an option that the course does not use."""
    if name == CYCLES:
        return 'cosine_with_restarts uses it; cosine takes --lr_scheduler_args "num_cycles=0.5"'
    users = [course for course, one in SCHEDULES.items() if name in one.options]
    return f"leave it out, or choose {' or '.join(users)}"
