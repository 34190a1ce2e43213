"""Optimizers by their field names, and a step that never applies a bad gradient."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loracore.config.optimizer_arguments import finds_own_rates, optimizer_arguments
from loracore.config.options import TrainingOptions
from loracore.errors import ConfigError, did_you_mean
from loracore.networks.rates import ParameterGroup

#: Where the classes are (module:class). A module is imported only when its optimizer is chosen.
CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "AdamW": "torch.optim:AdamW",
        "AdamW8bit": "bitsandbytes.optim:AdamW8bit",
        "Adafactor": "transformers.optimization:Adafactor",
    }
)


def build_optimizer(groups: Sequence[ParameterGroup], training: TrainingOptions) -> Optimizer:
    """Return the optimizer over these groups, which must not be empty.

    An optimizer that finds its own rates is given none.
    """
    kind, arguments = chosen_optimizer(training)
    own = finds_own_rates(training)
    rates = [{} if own else {"lr": group.lr} for group in groups]
    params = [
        {"params": list(group.parameters), "name": group.name, **rate}
        for group, rate in zip(groups, rates, strict=True)
    ]
    try:
        optimizer: Optimizer = kind(params, lr=None if own else training.learning_rate, **arguments)
    except (ValueError, TypeError, RuntimeError) as error:
        message = f"{kind.__name__} refuses its arguments: {error}"
        raise ConfigError(message, where="--optimizer_args", fix="see the optimizer's own documentation") from error
    return optimizer


def try_optimizer(training: TrainingOptions) -> None:
    """Make the optimizer for a parameter of no importance; raises ConfigError when that cannot be done."""
    build_optimizer([ParameterGroup("trial", training.learning_rate, (nn.Parameter(torch.zeros(1)),))], training)


def chosen_optimizer(training: TrainingOptions) -> tuple[type[Any], dict[str, Any]]:
    """Return the optimizer's class and its arguments; raises ConfigError for arguments that the class does not take."""
    kind = optimizer_class(training.optimizer_type)
    arguments = optimizer_arguments(training)
    known = set(inspect.signature(kind).parameters) - {"params", "lr"}
    for name in arguments:
        if name not in known:
            message = f"{kind.__name__} takes no argument '{name}'"
            raise ConfigError(message, where="--optimizer_args", fix=did_you_mean(name, known))
    return kind, {"fused": True, **arguments} if kind is torch.optim.AdamW else arguments


def optimizer_class(name: str) -> type[Any]:
    """Return the class behind an ``optimizer_type``; raises ConfigError when its package is not installed."""
    module, _, kind = CLASSES[name].partition(":")
    quiet = logging.getLogger("bitsandbytes")  # others import it, too
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # it warns of kernels for arithmetic that nobody asked for
    try:
        found: type[Any] = vars(import_module(module))[kind]
    except ImportError as error:
        package = module.partition(".")[0]
        message = f"{name} needs {package}, which cannot be imported: {error}"
        raise ConfigError(message, where="--optimizer_type", fix=f"pip install {package}") from error
    finally:
        quiet.setLevel(level)
    return found


def step_unless_bad(optimizer: Optimizer, bad: Tensor) -> None:
    """Step the optimizer, or leave everything as it is when ``bad`` (0 or 1, on the device) is 1.

    Fused AdamW reads the flag on the device; for others the host has to wait for it.
    """
    if isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["fused"]:
        optimizer.found_inf, optimizer.grad_scale = bad, None  # type: ignore[attr-defined]  # read by the fused kernel
        optimizer.step()
    elif not bad.item():
        optimizer.step()


def describe(optimizer: Optimizer, arguments: Mapping[str, Any]) -> str:
    """Return ``module.Class(key=value,…)`` as the field's metadata names an optimizer."""
    kind = type(optimizer)
    text = ",".join(f"{name}={value}" for name, value in arguments.items())
    return f"{kind.__module__}.{kind.__name__}" + (f"({text})" if text else "")
