"""Which tensors of a device are alive, operation by operation; on the meta device, where nothing is there, too."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from loracore.memory.planning.shape_answers import ShapeAnswers, address_of
from loracore.memory.planning.without_numbers import AttentionWithoutScores, answer_without_numbers

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from Python 3.11 on

#: Whatever is made outside of a `part`.
ELSEWHERE = "elsewhere"
_ATEN = torch.ops.aten
#: Attention of CPUs, whose arithmetic nobody has written a formula for, and that of cards, which is the same.
_OF_CARDS: Mapping[Any, Any] = MappingProxyType(
    {
        _ATEN._scaled_dot_product_flash_attention_for_cpu: _ATEN._scaled_dot_product_flash_attention,  # noqa: SLF001  # torch has no public names
        _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: (  # noqa: SLF001  # as above
            _ATEN._scaled_dot_product_flash_attention_backward  # noqa: SLF001  # as above
        ),
    }
)


class LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Follows, while it is entered, every storage of one kind of device from the operation that makes it to its end.

    ``bytes`` are alive now, ``peak`` were at most, ``parts_at_peak`` says whose they were. Bytes are those that an
    allocator hands out in pieces of ``grain`` (512 on CUDA). What a kernel needs inside itself is not seen. A storage
    is of the part that was named when it was made. On the meta device everything that needs numbers gets some answer,
    and attention is the kind that keeps no scores: devices that train have it.
    """

    def __init__(self, device_type: str, grain: int = 1, answers: ShapeAnswers | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._device_type, self._grain = device_type, grain
        self._alive: dict[int, _Life] = {}  # by the address of what C++ holds
        self._parts: Counter[str] = Counter()
        self._part = ELSEWHERE
        self._rising = False  # whether now is the peak
        self.bytes = self.peak = self.flops = 0
        self._at_peak: Mapping[str, int] = {}
        self._attention, self._answers = AttentionWithoutScores(), answers or ShapeAnswers()

    def __enter__(self) -> Self:
        """Follow from here on."""
        if self._device_type == "meta":
            self._attention.__enter__()  # type: ignore[no-untyped-call]  # torch's own
        super().__enter__()  # type: ignore[no-untyped-call]  # as above
        return self

    def __exit__(self, *failure: object) -> None:
        """Follow no longer; what is alive stays counted."""
        super().__exit__(*failure)  # type: ignore[no-untyped-call]  # as above
        if self._device_type == "meta":
            self._attention.__exit__(*failure)  # type: ignore[no-untyped-call]  # as above

    @property
    def parts_at_peak(self) -> Mapping[str, int]:
        """Return bytes by part, as they were at the peak."""
        return dict(self._parts) if self._rising else self._at_peak

    def hold(self, tensors: Iterable[Tensor], part: str) -> None:
        """Count tensors that were there before."""
        for tensor in tensors:
            self._born(tensor, part)

    def leave_out(self, tensors: Iterable[Tensor]) -> None:
        """Count these as nothing: they wait in memory that is not looked at."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            address = address_of(tensor)
            self._alive[address] = _Life(0, ELSEWHERE, weakref.ref(storage, partial(self._died, address)))

    def hold_bytes(self, count: int, part: str) -> None:
        """Count bytes that stand for tensors which nobody has made; below 0, for some that will not be there."""
        self._add(count, part)

    def give(self, tensor: Tensor, part: str) -> None:
        """Count a tensor that is alive to another part."""
        life = self._alive.get(address_of(tensor))
        if life is not None:
            self._parts[life.part] -= life.size
            self._parts[part] += life.size
            life.part = part

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is made meanwhile to a part."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def forget_peak(self) -> None:
        """Look for the peak from here on."""
        self.peak, self._rising = self.bytes, True

    def __torch_dispatch__(  # torch's own
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and look at what it gives."""
        _ = types
        answer = self._answered(func, args, kwargs or {})
        self._count_flops(func.overloadpacket, args, kwargs or {}, answer)
        for one in answer if isinstance(answer, tuple | list) else (answer,):
            if isinstance(one, Tensor):
                self._born(one, self._part)
        return answer

    def _answered(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if self._device_type != "meta":
            return func(*args, **kwargs)
        answer = answer_without_numbers(func, args, kwargs)
        return self._answers.answer(func, args, kwargs) if answer is NotImplemented else answer

    def _count_flops(self, kind: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], answer: Any) -> None:
        formula: Callable[..., int] | None = flop_registry.get(_OF_CARDS.get(kind, kind))
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=answer)

    def _born(self, tensor: Tensor, part: str) -> None:
        if tensor.device.type != self._device_type:
            return
        address = address_of(tensor)
        if address in self._alive:
            return
        storage = tensor.untyped_storage()
        size = -(-storage.nbytes() // self._grain) * self._grain
        self._alive[address] = _Life(size, part, weakref.ref(storage, partial(self._died, address)))
        self._add(size, part)

    def _died(self, address: int, _: object) -> None:
        life = self._alive.pop(address)
        self._add(-life.size, life.part)

    def _add(self, size: int, part: str) -> None:
        if size < 0 and self._rising:
            self._at_peak, self._rising = dict(self._parts), False
        self._parts[part] += size
        self.bytes += size
        if self.bytes >= self.peak:
            self.peak, self._rising = self.bytes, True


class _Life:
    """One storage that is alive."""

    __slots__ = ("end", "part", "size")

    def __init__(self, size: int, part: str, end: weakref.ref[Any]) -> None:
        self.size, self.part, self.end = size, part, end
