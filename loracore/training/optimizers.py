"""Optimizers by their field names, and a step that never applies a bad gradient."""

from __future__ import annotations

import ast
import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from loracore.config.options import TrainingOptions
from loracore.errors import ConfigError, did_you_mean
from loracore.networks.rates import ParameterGroup


def build_optimizer(groups: Sequence[ParameterGroup], training: TrainingOptions) -> Optimizer:
    """Return the optimizer over these groups, which must not be empty."""
    kind, arguments = chosen_optimizer(training)
    params = [{"params": list(group.parameters), "lr": group.lr, "name": group.name} for group in groups]
    try:
        optimizer: Optimizer = kind(params, lr=training.learning_rate, **arguments)
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
    arguments = parse_arguments(training.optimizer_args, "optimizer_args")
    known = set(inspect.signature(kind).parameters) - {"params", "lr"}
    for name in arguments:
        if name not in known:
            message = f"{kind.__name__} takes no argument '{name}'"
            raise ConfigError(message, where="--optimizer_args", fix=did_you_mean(name, known))
    return kind, {"fused": True, **arguments} if kind is torch.optim.AdamW else arguments


def optimizer_class(name: str) -> type[Any]:
    """Return the class behind an ``optimizer_type``; bitsandbytes is imported only for its own."""
    if name == "AdamW8bit":
        quiet = logging.getLogger("bitsandbytes")
        level = quiet.level
        quiet.setLevel(logging.ERROR)  # it warns of kernels for arithmetic that nobody asked for
        import bitsandbytes

        quiet.setLevel(level)
        found: type[Any] = bitsandbytes.optim.AdamW8bit
        return found
    return torch.optim.AdamW


def parse_arguments(items: Sequence[str], option: str) -> dict[str, Any]:
    """Return ``key=value`` items as a dictionary: Python literals, true/false/null, otherwise text."""
    return dict(_parse(item, option) for item in items)


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
