"""What sets every group's learning rate before each step of the optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from loracore.config.options import TrainingOptions
from loracore.config.updates.courses import Factor, schedule_factor
from loracore.config.updates.optimizer_arguments import parse_arguments
from loracore.config.updates.schedule_choice import OPTION, OURS, schedule_class
from loracore.config.updates.schedule_names import ARGS
from loracore.errors import ConfigError
from loracore.training.updates.classes import check_arguments, imported_class
from loracore.training.updates.plain_data import decoded, plain_items
from loracore.training.updates.schedule_free import is_schedule_free


class Schedule:
    """Sets every group's learning rate for the step that comes."""

    def __init__(self, optimizer: Optimizer, factor: Factor) -> None:
        self._optimizer = optimizer
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._factor = factor
        self._step = 0
        self._apply()

    def step(self) -> None:
        """Go on to the next optimizer step."""
        self._step += 1
        self._apply()

    def rates(self) -> dict[str, float]:
        """Return the learning rate in force, by group name."""
        return rates_of(self._optimizer)

    def base_rates(self) -> dict[str, float]:
        """Return the learning rates that the factors apply to, by group name."""
        names = [str(group["name"]) for group in self._optimizer.param_groups]
        return dict(zip(names, self._rates, strict=True))

    def state(self) -> dict[str, Any]:
        """Return how many steps were taken."""
        return {"step": self._step}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; the rates of the step that comes are set."""
        self._step = int(state["step"])
        self._apply()

    def _apply(self) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._factor(self._step)


class ClassSchedule:
    """A course that is a class: of torch.optim.lr_scheduler, or of an installed package.

    It sets the rates itself, as it was made to, one ``step()`` for each of the optimizer's.
    """

    def __init__(self, optimizer: Optimizer, kind: type[Any], arguments: Mapping[str, Any]) -> None:
        self._optimizer = optimizer
        self._base_rates = rates_of(optimizer)
        self._scheduler = kind(optimizer, **arguments)

    def step(self) -> None:
        """Go on to the next optimizer step."""
        with warnings.catch_warnings():  # a bad first step is not applied, and nothing is wrong with that
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            self._scheduler.step()

    def rates(self) -> dict[str, float]:
        """Return the learning rate in force, by group name."""
        return rates_of(self._optimizer)

    def base_rates(self) -> dict[str, float]:
        """Return the learning rates as the options give them, by group name."""
        return dict(self._base_rates)

    def state(self) -> dict[str, Any]:
        """Return what the class keeps, as plain data, and the rates in force."""
        return {"scheduler": plain_items(self._scheduler.state_dict()), "rates": list(self.rates().values())}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        kept = {name: decoded(one) for name, one in state["scheduler"].items()}
        self._scheduler.load_state_dict({**self._scheduler.state_dict(), **kept})
        for group, rate in zip(self._optimizer.param_groups, state["rates"], strict=True):
            group["lr"] = rate


def build_schedule(optimizer: Optimizer, training: TrainingOptions, steps: int) -> Schedule | ClassSchedule:
    """Return the course of the rates over a run of so many optimizer steps.

    A schedule-free optimizer keeps the rates that it is given. Raises ConfigError for arguments that the course does
    not take, and for classes that cannot be one.
    """
    if is_schedule_free(optimizer):
        return Schedule(optimizer, lambda _: 1.0)
    if training.lr_scheduler_type:
        return _of_class(optimizer, training, steps)
    return Schedule(optimizer, schedule_factor(training, steps))


def rates_of(optimizer: Optimizer) -> dict[str, float]:
    """Return the learning rate in force, by group name."""
    return {str(group["name"]): float(group["lr"]) for group in optimizer.param_groups}


def _of_class(optimizer: Optimizer, training: TrainingOptions, steps: int) -> ClassSchedule:
    module, name = schedule_class(training.lr_scheduler_type or "")
    kind = imported_class(module, name, OPTION)
    arguments = parse_arguments(training.lr_scheduler_args, ARGS)
    check_arguments(kind, arguments, OURS, ARGS)
    total = arguments.get("total_steps")
    if isinstance(total, int) and total < steps:  # it would raise in the middle of the run
        message = f"{name} ends after total_steps={total}, before the run of {steps} steps does"
        raise ConfigError(message, where=f"--{ARGS}", fix=f"give total_steps={steps}")
    try:
        return ClassSchedule(optimizer, kind, arguments)
    except (ValueError, TypeError, RuntimeError, AssertionError, KeyError) as error:
        message = f"{name} refuses its arguments: {error}"
        raise ConfigError(message, where=f"--{ARGS}", fix="see the documentation of the class") from error
