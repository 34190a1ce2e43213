"""Tells what would make the host wait for a card, while steps are taken on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from loracore import hookimpl
from loracore.config.options import NetworkOptions
from loracore.training.history import History, TakenStep
from loracore.training.loop import loaded_windows, train_window
from loracore.training.run import Run

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


class Watched:
    """An extension that takes two steps beside the run's own, before them, under a watch."""

    def __init__(self) -> None:
        self.waits = HostWaits()
        self.steps = 0
        self.read: list[float] = []

    @hookimpl
    def run_started(self, run: Run) -> None:
        history = History(10, lag=2)
        for window, several in loaded_windows(run):
            with self.waits:
                trained = train_window(run, window, several, torch.zeros(0))
                applied = run.updates.apply(trained.loss)
                largest = run.config[NetworkOptions].scale_weight_norms
                norms = run.network.limit_norms(largest) if largest else None
                run.schedule.step()
                losses = trained.sample_losses
                taken = TakenStep(
                    window.step, 1, trained.ids, trained.loss, applied.grad_norm, applied.bad, losses, norms=norms
                )
                history.push(taken)
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
