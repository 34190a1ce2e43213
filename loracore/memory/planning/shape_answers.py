"""Operations on the meta device, each computed once for every set of shapes: there many are Python, and slow."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Kind(Enum):
    PURE = 1  # what it gives is new
    IN_PLACE = 2  # it gives its first argument, whose shape stays
    OTHER = 3


class _Shape(NamedTuple):
    """All that a tensor without numbers is."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> _Shape:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)

    def made(self) -> Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=self.device)


class ShapeAnswers:
    """Answers of operations by their arguments' shapes."""

    def __init__(self) -> None:
        self._kinds: dict[Any, _Kind] = {}
        self._known: dict[Any, Any] = {}

    def answer(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return what an operation gives; tensors are new ones, but for those that it changes or views."""
        kind = self._kinds.get(func)
        if kind is None:
            kind = self._kinds[func] = _kind(func)
        if kind is _Kind.IN_PLACE:
            return args[0]
        if kind is _Kind.OTHER:
            return func(*args, **kwargs)
        try:
            key = (func, _signature(args), tuple((name, _signature(one)) for name, one in kwargs.items()))
            known = self._known.get(key)
        except TypeError:  # an argument that cannot be compared
            return func(*args, **kwargs)
        if known is not None:
            return _made(known)
        found = func(*args, **kwargs)
        if _addresses(found) & _addresses([*args, *kwargs.values()]):
            self._kinds[func] = _Kind.OTHER  # a view that its schema keeps quiet about: there are a few
        elif _on_meta(found):
            self._known[key] = _described(found)
        return found


def _kind(func: Any) -> _Kind:
    """Return whether an operation makes new tensors or writes into its first argument, by its schema."""
    schema = func._schema  # noqa: SLF001  # torch's own way to ask
    written = [one.alias_info is not None and one.alias_info.is_write for one in schema.arguments]
    aliased = [one.alias_info is not None for one in schema.returns]
    if not any(written) and not any(aliased):
        return _Kind.PURE
    alone = sum(written) == 1 and written[0] and len(aliased) == 1 and aliased[0]
    return _Kind.IN_PLACE if alone and torch.Tag.inplace_view not in func.tags else _Kind.OTHER


def _signature(value: Any) -> Any:
    """Return what tells an argument from others that give another shape; 1, 1.0 and True are not the same."""
    if isinstance(value, Tensor):
        return _Shape.of(value)
    if isinstance(value, list | tuple):
        return tuple(_signature(one) for one in value)
    return type(value), value


def _addresses(values: Any) -> set[int]:
    """Return what tells the storages of tensors from others."""
    several = values if isinstance(values, tuple | list) else (values,)
    inner = [one for value in several for one in (value if isinstance(value, tuple | list) else (value,))]
    return {address_of(one) for one in inner if isinstance(one, Tensor)}


def address_of(tensor: Tensor) -> int:
    """Return what tells a storage from every other that is alive: views of it have the same."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  # torch's own way to tell whether storages are one


def _on_meta(found: Any) -> bool:
    several = found if isinstance(found, tuple | list) else (found,)
    return all(one is None or (isinstance(one, Tensor) and one.is_meta) for one in several)


def _described(found: Any) -> Any:
    if isinstance(found, tuple | list):
        return type(found)(_described(one) for one in found)
    return None if found is None else _Shape.of(found)


def _made(known: Any) -> Any:
    if isinstance(known, _Shape):
        return known.made()
    if known is None:
        return None
    return type(known)(_made(one) for one in known)
