"""The memory that the steps of a real run take, beside what `loracore plan` counts before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from loracore import ModelOptions, NoisyBatch, hookimpl
from loracore.data.scanning import Scanned
from loracore.memory.block_swap import rotating_places
from loracore.memory.block_weights import frozen_tensors
from loracore.memory.planning.live_storages import LiveStorages
from loracore.memory.planning.peaks import StepCount
from loracore.training.assembly.plan import Plan
from loracore.training.planning.largest_batch import largest_batch
from loracore.training.planning.memory_plan import memory_plan
from loracore.training.planning.on_meta import tensors_of
from loracore.training.run import Run
from loracore.types import DENOISER


@dataclass(frozen=True, slots=True)
class Compared:
    """The peak of a run's steps."""

    counted: StepCount
    measured: int  # bytes

    @property
    def ratio(self) -> float:
        return self.counted.phase.peak / self.measured


class MeasuredSteps:
    """Hears a run, and has its steps counted and measured: register it as a plugin of the run.

    On CUDA torch's own count of tensors is read. Elsewhere every storage of the host is followed, which is slow.
    """

    def __init__(self) -> None:
        self._following = ExitStack()
        self._compared: Compared | None = None
        self._live = LiveStorages("cpu")
        self._counted: StepCount | None = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Count, then follow."""
        index = run.steps.loader.index
        scanned = Scanned(index, index.take(index.repeats < 0))
        plan = Plan(run.config, run.hook, run.processes, run.seed, run.config.datasets, scanned, None, ())
        self._counted = memory_plan(plan, largest_batch(index, run.config.datasets, 1)).as_given()
        if run.processes.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(run.processes.device)
            return
        self._live.leave_out(_waiting(run))
        for module in run.steps.forward.models.modules().values():
            self._live.hold(tensors_of(module), "weights")
        self._live.hold(run.network.modules.parameters(), "adapters")
        self._live.forget_peak()
        self._following.enter_context(self._live)

    @hookimpl(tryfirst=True)
    def predict_noise(self, batch: NoisyBatch) -> None:
        """Follow what the loader hands over, too: its own thread made it, and on a card it would be copied there."""
        self._live.hold(batch.batch.conditioning.tensors.values(), "inputs")

    @hookimpl
    def run_finished(self, run: Run) -> None:
        """Stop following, and compare."""
        self._following.close()
        assert self._counted is not None
        device = run.processes.device
        measured = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else self._live.peak
        self._compared = Compared(self._counted, measured)

    @property
    def compared(self) -> Compared:
        """What came of it."""
        assert self._compared is not None
        return self._compared


def _waiting(run: Run) -> Iterator[Tensor]:
    """Give what waits in host memory: on the CPU it is of the same kind as what does not."""
    swapped = run.config[ModelOptions].blocks_to_swap
    blocks = run.steps.forward.models.blocks.get(DENOISER, ())
    if swapped:
        for place in rotating_places(len(blocks), swapped):
            yield from frozen_tensors(blocks[place])
