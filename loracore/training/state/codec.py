"""Nested plain values and tensors as one text of JSON and named tensors, and back; no pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

_MARK = "$"  # begins the keys that tell what JSON has no form for


def packed(tree: Any) -> tuple[str, dict[str, Tensor]]:
    """Return a tree as JSON, and its tensors by the path that they have in it.

    A tree is made of dicts (keys: str, int, float, bool, None or tuples of these), lists, tuples, str, int, float
    (infinite and nan too), bool, None and tensors, nothing else; ``unpacked`` gives the very same back. Raises
    TypeError, with the place in the tree, for anything else.
    """
    tensors: dict[str, Tensor] = {}
    return json.dumps(_packed(tree, "", tensors), allow_nan=False), tensors


def unpacked(text: str, tensors: Mapping[str, Tensor]) -> Any:
    """Return the tree that ``packed`` took; raises ValueError for other JSON, KeyError for a missing tensor."""
    return _unpacked(json.loads(text), tensors)


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = path or _MARK
        tensors[name] = value.detach()
        return {"$tensor": name}
    if isinstance(value, Mapping):
        return _packed_mapping(value, path, tensors)
    if type(value) is tuple:
        return {"$tuple": [_packed(one, f"{path}/{place}", tensors) for place, one in enumerate(value)]}
    if type(value) is list:
        return [_packed(one, f"{path}/{place}", tensors) for place, one in enumerate(value)]
    if type(value) is float and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or type(value) in {bool, int, float, str}:
        return value
    message = f"a state cannot hold a {type(value).__name__} ({path})"
    raise TypeError(message)


def _packed_mapping(value: Mapping[Any, Any], path: str, tensors: dict[str, Tensor]) -> Any:
    if all(isinstance(key, str) and not key.startswith(_MARK) for key in value):
        return {key: _packed(one, f"{path}/{key}", tensors) for key, one in value.items()}
    pairs = enumerate(value.items())  # a number in the path: 1 and "1" are two keys
    return {
        "$dict": [
            [_packed(key, f"{path}/{place}", tensors), _packed(one, f"{path}/{place}", tensors)]
            for place, (key, one) in pairs
        ]
    }


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:  # noqa: PLR0911  # one for each form
    if isinstance(value, list):
        return [_unpacked(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    mark = next((key for key in value if key.startswith(_MARK)), None)
    if mark is None:
        return {key: _unpacked(one, tensors) for key, one in value.items()}
    inner = value[mark]
    if mark == "$tensor":
        return tensors[inner]
    if mark == "$float":
        return float(inner)
    if mark == "$tuple":
        return tuple(_unpacked(one, tensors) for one in inner)
    if mark == "$dict":
        return dict(_pairs(inner, tensors))
    message = f"no form of a value: {mark}"
    raise ValueError(message)


def _pairs(pairs: list[Any], tensors: Mapping[str, Tensor]) -> Iterator[tuple[Any, Any]]:
    yield from ((_unpacked(key, tensors), _unpacked(one, tensors)) for key, one in pairs)
