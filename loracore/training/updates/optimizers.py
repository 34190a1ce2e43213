"""Optimizers made from the run's options, over its groups of parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from loracore.config.options import TrainingOptions
from loracore.config.updates.optimizer_arguments import finds_own_rates, optimizer_arguments
from loracore.config.updates.optimizer_choice import OURS, WHERE, choose_optimizer
from loracore.errors import ConfigError
from loracore.networks.rates import ParameterGroup
from loracore.training.updates.adafactor import without_waiting
from loracore.training.updates.classes import check_arguments, imported_class
from loracore.training.updates.schedule_free import is_schedule_free, to_training

ARGS = "optimizer_args"
#: Ways to compute AdamW's step that exclude the fused one.
OTHER_WAYS = frozenset({"foreach", "capturable", "differentiable", "fused"})


def build_optimizer(groups: Sequence[ParameterGroup], training: TrainingOptions) -> Optimizer:
    """Return the optimizer over these groups, which must not be empty, ready to train.

    An optimizer that finds its own rates is given none. Raises ConfigError for what it refuses.
    """
    kind, arguments = chosen_optimizer(training)
    own = finds_own_rates(training)
    rates = [{} if own else {"lr": group.lr} for group in groups]
    params = [
        {"params": list(group.parameters), "name": group.name, **rate}
        for group, rate in zip(groups, rates, strict=True)
    ]
    try:
        optimizer = kind(params, lr=None if own else training.learning_rate, **arguments)
    except (ValueError, TypeError, RuntimeError, AssertionError, NotImplementedError) as error:
        texts = ", ".join(f"{name}={value}" for name, value in arguments.items() if isinstance(value, str))
        message = f"{kind.__name__} refuses its arguments{f' ({texts} is text)' if texts else ''}: {error}"
        raise ConfigError(message, where=f"--{ARGS}", fix="see the optimizer's own documentation") from error
    _check_kind(optimizer)
    if is_schedule_free(optimizer):
        to_training(optimizer)
    return without_waiting(optimizer)


def chosen_optimizer(training: TrainingOptions) -> tuple[type[Any], dict[str, Any]]:
    """Return the optimizer's class and its arguments; raises ConfigError for arguments that the class does not take."""
    choice = choose_optimizer(training)
    kind = imported_class(choice.module, choice.kind, "optimizer_type")
    arguments = optimizer_arguments(training)
    check_arguments(kind, arguments, OURS, ARGS)
    if choice.name.startswith("SGDNesterov"):
        if not arguments.get("nesterov", True):
            raise ConfigError("nesterov=False contradicts SGDNesterov", where=f"--{ARGS}", fix="choose SGD")
        return kind, {**arguments, "nesterov": True}
    if kind is torch.optim.AdamW and not OTHER_WAYS & arguments.keys():
        return kind, {"fused": True, **arguments}
    return kind, arguments


def describe(optimizer: Optimizer, arguments: Mapping[str, Any]) -> str:
    """Return ``module.Class(key=value,…)`` as the field's metadata names an optimizer."""
    kind = type(optimizer)
    text = ",".join(f"{name}={value}" for name, value in arguments.items())
    return f"{kind.__module__}.{kind.__name__}" + (f"({text})" if text else "")


def adapted_rates(optimizer: Optimizer) -> dict[str, float | Tensor]:
    """Return the rates that D-Adaptation and Prodigy have come to (d · learning rate), by group name; else nothing.

    Where an optimizer keeps d on the device, so is the product: the host need not wait for it.
    """
    groups = [group for group in optimizer.param_groups if "d" in group and group.get("lr") is not None]
    return {str(group["name"]): group["d"] * group["lr"] for group in groups}


def _check_kind(optimizer: Any) -> None:
    """Raise ConfigError for classes that are no optimizers, or that want to compute the loss in their step."""
    name = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(f"{name} is no optimizer of torch", where=WHERE, fix="choose another class")
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        message = f"{name} computes the loss again within its step, which training does not offer"
        raise ConfigError(message, where=WHERE, fix="choose another optimizer")
