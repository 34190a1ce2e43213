"""Runs of the toy that validate, watched."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from loracore import Batch, Event, NoisyBatch, Prediction, hookimpl
from loracore.training.run import Run
from tests.loracore.training.conftest import Outcome, Trained, Watch

#: Two of the six pictures are held out.
HELD = ("--validation_split", "0.34", "--validation_seed", "3")

Validated = Callable[..., "Validations"]


@dataclass(frozen=True, eq=False)
class Seen:
    """One forward pass of a validation."""

    batch: Batch
    timestep: int
    losses: Tensor  # B, mean squared differences
    weights: dict[str, Tensor]  # of the network, as a file would hold them


class Validations(Watch):
    """Notes what validations tell and read, apart from what training reads."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Event] = []
        self.seen: list[Seen] = []
        self.outcome: Outcome | None = None
        self.disturbed = False
        self._run: Run | None = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        self._run, self.notes = run, list(run.notes)

    @hookimpl(wrapper=True)
    def predict_noise(self, batch: NoisyBatch) -> Generator[None, Prediction, Prediction]:
        prediction = yield
        if torch.is_grad_enabled():
            self.batches.append(batch.batch)
            return prediction
        assert self._run is not None
        losses = (prediction.output - prediction.target).square().flatten(1).mean(dim=1)
        weights = self._run.network.file_tensors(torch.float32)
        self.seen.append(Seen(batch.batch, int(batch.timesteps[0]), losses, weights))
        return prediction

    @hookimpl(wrapper=True, specname="step_done")
    def around_step(self) -> Generator[None, Any, Any]:
        before = torch.get_rng_state(), random.getstate()
        result = yield
        self.disturbed |= not torch.equal(before[0], torch.get_rng_state()) or before[1] != random.getstate()
        return result

    @hookimpl
    def happened(self, event: Event) -> None:
        self.told += [event] if event.kind == "validation" else []

    @property
    def record(self) -> dict[str, Any]:
        """What the run knows of its validations at its end."""
        assert self._run is not None
        return self._run.watch.validations.state()

    @property
    def values(self) -> list[dict[str, Any]]:
        """What each event held."""
        return [dict(event.values) for event in self.told]

    @property
    def found(self) -> list[float]:
        """The losses, one for each event."""
        return [values["loss"] for values in self.values]


@pytest.fixture
def validated(trained: Trained) -> Validated:
    """Train the toy with pictures held out, and return what its validations did."""

    def run(*words: str, held: tuple[str, ...] = HELD) -> Validations:
        watch = Validations()
        watch.outcome = trained(*held, *words, watch=watch)
        return watch

    return run
