"""Values as plain data from which their kinds can be told again: what a saved state is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from loracore.errors import LoracoreError

CPU = torch.device("cpu")


def is_plain(value: Any) -> bool:
    """Tell whether a value is a tensor, a number, text, a truth or None, or lists, tuples and dictionaries of such."""
    if isinstance(value, dict):
        return type(value) is dict and all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return type(value) in {list, tuple} and all(map(is_plain, value))
    return value is None or isinstance(value, Tensor) or type(value) in {bool, int, float, str}


def plain_items(values: Mapping[str, Any], home: torch.device = CPU) -> dict[str, Any]:
    """Return those values that are plain, encoded; functions and the like are made anew with their owner."""
    return {name: encoded(one, home, name) for name, one in values.items() if is_plain(one)}


def encoded(value: Any, home: torch.device, name: str) -> Any:
    """Return a value as nested dict, list, int, float, str, bool, None and tensors (copies in host memory).

    ``home`` is the device where its tensors are expected. Raises LoracoreError, with ``name``, for anything else.
    """
    if not is_plain(value):
        message = f"the optimizer keeps a {type(value).__name__} ('{name}'), which cannot be saved without pickle"
        raise LoracoreError(message, where="--optimizer_type", fix="choose another optimizer")
    if isinstance(value, Tensor):
        return {"tensor": value.detach().to("cpu", copy=True).contiguous(), "on_host": value.device != home}
    if isinstance(value, tuple):
        return {"tuple": [encoded(one, home, name) for one in value]}
    if isinstance(value, dict):
        return {"dict": {key: encoded(one, home, name) for key, one in value.items()}}
    if isinstance(value, list):
        return [encoded(one, home, name) for one in value]
    return value


def decoded(value: Any, home: torch.device = CPU) -> Any:
    """Return what ``encoded`` was given, with tensors on ``home`` again, or in host memory if they were there."""
    if isinstance(value, list):
        return [decoded(one, home) for one in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return value["tensor"].to("cpu" if value["on_host"] else home, copy=True)
    if "tuple" in value:
        return tuple(decoded(one, home) for one in value["tuple"])
    return {key: decoded(one, home) for key, one in value["dict"].items()}
