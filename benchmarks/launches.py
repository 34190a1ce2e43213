"""Watches that count what a device is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
#: Operations that make room or look at a tensor and start nothing; views tell so themselves.
NO_WORK = frozenset(
    {"_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "lift_fresh"}
)
#: Operations that read numbers from the device, or whose output has as many elements as numbers there say.
WAITING = frozenset({"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2"})
CASTS = frozenset({"_to_copy", "copy_"})


@dataclass(frozen=True, slots=True)
class Counted:
    """The operations of one step."""

    launches: Counter[str]
    waits: Counter[str]

    @property
    def total(self) -> int:
        return self.launches.total()

    @property
    def casts(self) -> int:
        return sum(self.launches[name] for name in CASTS)


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts the operations that start work on a device: those that are given or give a tensor there."""

    counted: Counted

    def __init__(self, device: torch.device = META) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._kind = device.type
        self.counted = Counted(Counter(), Counter())

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do an operation and count it."""
        name, given = func.overloadpacket.__name__, kwargs or {}
        here = self._here((args, tuple(given.values())))
        if here and name in WAITING:  # before it is tried: the meta device has no answer
            self.counted.waits[name] += 1
        found = func(*args, **given)
        if not func.is_view and name not in NO_WORK and (here or self._here(found)):
            self.counted.launches[name] += 1
        return found

    def _here(self, value: Any) -> bool:
        """Tell whether a tensor of the device is among these, in lists too."""
        if isinstance(value, Tensor):
            return value.device.type == self._kind
        return isinstance(value, tuple | list) and any(map(self._here, value))


class FlashAttention(TorchFunctionMode):
    """Computes attention by the operation that a card has for it; the meta device would take it apart."""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what any function of torch does."""
        if func is functional.scaled_dot_product_attention:
            query, key, value = args
            return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]  # noqa: SLF001  # torch names it so
        return func(*args, **(kwargs or {}))
