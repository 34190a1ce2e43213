"""Keep a training to its minutes and on disk: clock, learning rate, averaged weights, resumable checkpoints."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

SAVE_EVERY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Say for which share of the time the rate is full, and how slowly the average follows the weights."""

    constant: float
    decay: float


def adamw(groups: Iterable[dict[str, Any]]) -> Optimizer:
    """Step weights as most do, with a shorter memory."""
    return torch.optim.AdamW(list(groups), betas=(0.9, 0.99), fused=True)


class Training:
    """Step an optimizer over some modules until a number of minutes is used up, whatever interrupts it."""

    def __init__(self, modules: nn.ModuleDict, optimizers: Sequence[Optimizer], minutes: float, pace: Pace) -> None:
        """Take what trains, what steps it, for how long, and how rate and average change."""
        self.modules, self.optimizers = modules, optimizers
        self.groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.rates = [group["lr"] for group in self.groups]
        self.seconds, self.pace = minutes * 60, pace
        self.parameters = [parameter for group in self.groups for parameter in group["params"]]
        self.live: dict[str, Tensor] = modules.state_dict()  # shares memory with the modules
        self.average = {name: value.clone() for name, value in self.live.items()}
        self.used, self.step = 0.0, 0

    @property
    def progress(self) -> float:
        """Give the share of the time that is used, 0 to 1."""
        return min(self.used / self.seconds, 1.0)

    def steps(self, checkpoint: Path) -> Iterator[int]:
        """Yield step numbers until the time is used up, saving every two minutes and at the end."""
        saved = self.used
        while self.progress < 1:
            started = time.monotonic()
            yield self.step
            self.step += 1
            self.used += time.monotonic() - started
            if self.used - saved > SAVE_EVERY_SECONDS:
                saved = self.used
                self.save(checkpoint)
        self.save(checkpoint)

    def update(self, loss: Tensor) -> None:
        """Go one step down the loss and move the average after the weights."""
        for group, rate in zip(self.groups, self.rates, strict=True):
            group["lr"] = rate * self._rate_factor()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        decay = min(self.pace.decay, (1 + self.step) / (20 + self.step))
        for name, value in self.live.items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)

    def _rate_factor(self) -> float:
        warm_up = min(1.0, (self.step + 1) / 100)
        decayed = max(0.0, (self.progress - self.pace.constant) / (1 - self.pace.constant))
        return warm_up * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * decayed)))

    def averaged_modules(self) -> dict[str, dict[str, Tensor]]:
        """Give the averaged weights, a state dict for each module."""
        return {
            name: {
                key.removeprefix(f"{name}."): value for key, value in self.average.items() if key.startswith(f"{name}.")
            }
            for name in self.modules
        }

    def save(self, checkpoint: Path) -> None:
        """Write everything that a later start needs; never leave half a file."""
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        state = {"modules": self.live, "average": self.average, "optimizers": optimizers}
        unfinished = checkpoint.with_suffix(".unfinished")
        torch.save({**state, "used": self.used, "step": self.step, "random": torch.get_rng_state()}, unfinished)
        unfinished.replace(checkpoint)

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint where there is one."""
        if not checkpoint.exists():
            return
        state = torch.load(checkpoint, weights_only=True)
        self.modules.load_state_dict(state["modules"])
        for optimizer, its_state in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its_state)
        self.average, self.used, self.step = state["average"], state["used"], state["step"]
        torch.set_rng_state(state["random"])
