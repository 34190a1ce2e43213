"""Tells what would make the host wait for a card, while steps are taken on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from loracore import hookimpl
from loracore.training.run import Run
from loracore.training.steps.control import Agreement
from loracore.training.steps.ending import Place
from loracore.training.steps.history import History
from loracore.training.steps.loop import loaded_windows, take_step

#: What reads a number from the device, or makes a tensor whose size depends on numbers there.
WAITING = frozenset(
    {
        "_local_scalar_dense",
        "item",
        "is_nonzero",
        "equal",
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
    }
)

#: Methods of a tensor that give its numbers to the host; not "tolist", by which draws that never left it are read.
READING = frozenset({"cpu", "numpy", "item", "__array__", "__bool__", "__float__", "__int__", "__index__"})


class HostWaits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Notes every operation at which a host would wait for its card."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.found: list[str] = []

    def __torch_dispatch__(  # torch's own
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        _ = types
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            isinstance(one, torch.Tensor) and one.dtype == torch.bool for one in args[1]
        )
        if name in WAITING or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class HostReads(TorchFunctionMode):
    """Notes every call that brings numbers to the host: of a tensor on the CPU no operation tells of these."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        _, named = types, kwargs or {}
        name = str(func.__name__) if hasattr(func, "__name__") else ""
        if name in READING:
            self.found.append(name)
        return func(*args, **named)


class Watched:
    """An extension that takes two steps beside the run's own, before them, under a watch."""

    def __init__(self) -> None:
        self.waits, self.reads = HostWaits(), HostReads()
        self.steps = 0
        self.read: list[float] = []

    @hookimpl
    def run_started(self, run: Run) -> None:
        history, place = History(10, lag=2), Place(run.start.taken)
        agreement = Agreement(run.control, run.processes.device, processes=2, lag=2)
        for window, several in loaded_windows(run):
            with self.waits, self.reads:
                taken, wishes = take_step(run, place, window, several, agreement.wishes())
                history.push(taken)
                agreement.stops(wishes)
            self.steps += 1
            if self.steps == 2:  # the first makes the optimizer's state
                break
        self.read = [record.loss for record in history.settle()]


def assert_nobody_waits(train: Callable[..., object], *words: str) -> None:
    """Train with these options; neither step may have waited."""
    watched = Watched()
    train(*words, plugin=watched)
    assert watched.steps == len(watched.read) == 2  # as above
    assert watched.waits.found == []
    assert watched.reads.found == []
