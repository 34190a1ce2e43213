"""What a run will take of its device's memory, phase by phase, and which treatment of its blocks makes it fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from loracore.config.config import Config
from loracore.config.options import MemoryOptions, PluginOptions
from loracore.config.prompts.prompt import Prompt
from loracore.errors import LoracoreError
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

GB = 10**9
#: Of a card, in bytes: the driver's context, workspaces of matrix products and convolutions, what lies between tensors.
RESERVE = 800_000_000
#: Bytes that CUDA's allocator deals in.
_GRAIN = 512


@dataclass(frozen=True, eq=False, slots=True)
class MemoryPlan:
    """A run gone through without numbers: what its phases take, and steps under any treatment."""

    batch: LargestBatch
    others: tuple[Phase, ...]  # but for the steps
    stepping: Stepping
    given: Treatment  # by the options
    reserve: int  # bytes that are not tensors

    def needed(self, step: StepCount) -> int:
        """Return the bytes that a card must have for all phases with such a step."""
        return largest([*self.others, step.phase]).peak + self.reserve

    def chosen(self, budget: int) -> StepCount:
        """Return a step under the cheapest treatment that fits into so many bytes, else under the smallest there is."""
        return choose(self.stepping.count, budget - self.reserve, len(self.stepping.blocks) - SLOTS)

    def as_given(self) -> StepCount:
        """Return a step under what the options ask for."""
        return self.stepping.count(self.given)


def memory_plan(plan: Plan, batch: LargestBatch, prompts: Sequence[Prompt] = ()) -> MemoryPlan:
    """Return what a run takes, counted on the meta device: no weights are read.

    Raises LoracoreError for models and networks that a run would refuse, and for architectures that need numbers.
    """
    of_card = plan.processes.device.type == "cuda"
    grain = _GRAIN if of_card else 1
    run = on_meta(plan)
    with _said_of_architecture(plan.config):
        encoded = encode(run, batch, grain)
        attach_on_meta(run)
        previews = [draw(run, prompts, grain)] if prompts else []
        stepping = Stepping(run, batch, encoded, grain, waits=not of_card)
        stepping.count(Treatment())
    others, reserve = (*encoded.phases, *previews), RESERVE if of_card else 0
    return MemoryPlan(batch, others, stepping, Treatment.of(plan.config), reserve)


@contextmanager
def _said_of_architecture(config: Config) -> Iterator[None]:
    """Raise LoracoreError where a plugin asks for what tensors without numbers cannot give."""
    try:
        yield
    except (RuntimeError, NotImplementedError, KeyError) as error:
        message = (
            f"{config[PluginOptions].arch} cannot be gone through without weights: {type(error).__name__}: {error}"
        )
        fix = "give gradient_checkpointing or blocks_to_swap by hand; whoever wrote the plugin may mend it"
        raise LoracoreError(message, where="--arch", fix=fix) from error


def budget_of(config: Config, device: torch.device) -> int:
    """Return how many bytes a run may use: ``memory_budget``, else what is free."""
    given = config[MemoryOptions].memory_budget
    if given is not None:
        return round(given * GB)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    return int(psutil.virtual_memory().available)
