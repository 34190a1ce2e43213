"""Signatures that are read once: diffusers' Attention asks for its processor's in every call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

_Call = TypeVar("_Call", bound=Callable[..., Any])


def signed(call: _Call) -> _Call:
    """Return the function, its signature written where ``inspect.signature`` looks first.

    A U-Net of 140 attentions would read it as often in each pass.
    """
    vars(call)["__signature__"] = inspect.signature(call)
    return call
