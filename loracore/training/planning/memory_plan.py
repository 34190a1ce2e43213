"""What a run will take of its device's memory, phase by phase, and which treatment of its blocks makes it fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psutil
import torch

from loracore.config.config import Config
from loracore.config.options import MemoryOptions
from loracore.config.options.memory import GB
from loracore.config.prompts.prompt import Prompt
from loracore.memory.block_swap import SLOTS
from loracore.memory.planning.choosing import choose
from loracore.memory.planning.peaks import Phase, StepCount, largest
from loracore.memory.planning.treatment import Treatment
from loracore.training.assembly.plan import Plan
from loracore.training.planning.drawing import draw
from loracore.training.planning.encoding import encode
from loracore.training.planning.largest_batch import LargestBatch
from loracore.training.planning.on_meta import attach_on_meta, on_meta
from loracore.training.planning.stepping import Stepping

#: Of a card, in bytes: the driver's context, workspaces of matrix products and convolutions, what lies between tensors.
RESERVE = 800_000_000
#: Bytes that CUDA's allocator deals in.
_GRAIN = 512


@dataclass(frozen=True, eq=False, slots=True)
class MemoryPlan:
    """A run gone through without numbers: what its phases take, and steps under any treatment."""

    batch: LargestBatch
    encoding: tuple[Phase, ...]  # what comes before the steps
    previews: Phase | None  # with all blocks on the device
    stepping: Stepping
    given: Treatment  # by the options
    reserve: int  # bytes that are not tensors

    def phases(self, step: StepCount) -> Sequence[Phase]:
        """Return all phases with such a step, in the order in which they are shown."""
        return (*self.encoding, *self._treated(step))

    def needed(self, step: StepCount) -> int:
        """Return the bytes that a card must have for all phases with such a step."""
        return largest(self.phases(step)).peak + self.reserve

    def chosen(self, budget: int) -> StepCount:
        """Return a step under the cheapest treatment with which steps and previews fit into so many bytes.

        Where none does it is the smallest there is.
        """
        found = choose(self._larger, budget - self.reserve, len(self.stepping.blocks) - SLOTS)
        return self.stepping.count(found.treatment)

    def as_given(self) -> StepCount:
        """Return a step under what the options ask for."""
        return self.stepping.count(self.given)

    @property
    def notes(self) -> Sequence[str]:
        """What of the count is not as good as the rest."""
        return self.stepping.optimizer.notes

    def _larger(self, treatment: Treatment) -> StepCount:
        """Return a step whose phase is that of the previews, where they take more."""
        step = self.stepping.count(treatment)
        return replace(step, phase=largest(self._treated(step)))

    def _treated(self, step: StepCount) -> Sequence[Phase]:
        """Return the phases that run the denoiser; blocks that swap do so while previews are drawn, too."""
        if self.previews is None:
            return (step.phase,)
        parts = Counter(self.previews.parts)
        parts.update(self.stepping.spared(step.treatment.swapped))
        return (Phase(self.previews.name, parts), step.phase)


def memory_plan(plan: Plan, batch: LargestBatch, prompts: Sequence[Prompt] = ()) -> MemoryPlan:
    """Return what a run takes, counted on the meta device: no weights are read.

    Raises LoracoreError for models and networks that a run would refuse, and for architectures that need numbers.
    """
    of_card = plan.processes.device.type == "cuda"
    grain = _GRAIN if of_card else 1
    run = on_meta(plan)
    encoded = encode(run, batch, grain)
    attach_on_meta(run)
    stepping = Stepping(run, batch, encoded, grain, waits=not of_card)
    previews = draw(stepping, prompts) if prompts else None
    stepping.count(Treatment())
    return MemoryPlan(batch, encoded.phases, previews, stepping, Treatment.of(plan.config), RESERVE if of_card else 0)


def budget_of(config: Config, device: torch.device) -> int:
    """Return how many bytes a run may use: ``memory_budget``, else what is free."""
    given = config[MemoryOptions].memory_budget
    if given is not None:
        return round(given * GB)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    return int(psutil.virtual_memory().available)
