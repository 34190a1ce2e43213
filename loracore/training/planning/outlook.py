"""All that `loracore plan` tells of a run: its phases, its blocks, and what cards of which size would do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pluggy
import torch

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import MemoryOptions, TrainingOptions
from loracore.config.options.memory import GB
from loracore.config.prompts.wanted import wanted_prompts
from loracore.data.framings import joined
from loracore.data.index import Index
from loracore.data.reading import reading_of
from loracore.data.scanning import Scanned, scan
from loracore.memory.planning.block_counts import BlockCount
from loracore.memory.planning.peaks import Phase, StepCount
from loracore.memory.planning.treatment import Treatment
from loracore.training.assembly.network_weights import read_network_weights
from loracore.training.assembly.plan import Plan
from loracore.training.planning.largest_batch import LargestBatch, batch_of_options, largest_batch
from loracore.training.planning.memory_plan import MemoryPlan, budget_of, memory_plan
from loracore.training.planning.reasons import effort, proposals, reasons
from loracore.training.processes import Processes

#: GB of cards that are sold.
CARDS = (8, 10, 12, 16, 24, 48, 80)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a card of some bytes would do with the run."""

    budget: int
    treatment: Treatment
    needed: int
    effort: str
    why: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return self.needed <= self.budget


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run takes."""

    batch: LargestBatch
    phases: tuple[Phase, ...]  # under `counted`
    reserve: int
    auto: bool  # whether memory auto decides; else the options do
    counted: Treatment  # of the run that will be; under memory auto, where no card is known, everything kept
    blocks: tuple[BlockCount, ...]
    fitted: tuple[Fitted, ...]  # one for the card, or one for each usual size
    proposals: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def needed(self) -> int:
        """The bytes that a card needs for the run as it is counted."""
        return max(phase.peak for phase in self.phases) + self.reserve


def outlook(config: Config, plugins: pluggy.PluginManager, datasets: Sequence[DatasetSpec]) -> Outlook:
    """Return what a run takes of a CUDA device; headers and configurations are read, no weights.

    Raises LoracoreError for data, models and networks that a run would refuse.
    """
    processes = Processes(torch.device("cuda"), 0, 1)
    seed = config[TrainingOptions].seed or 0
    config = config.with_datasets(datasets)
    weights, _ = read_network_weights(config)
    nothing = _nothing()
    scanned = scan(datasets, reading_of(config, seed)) if datasets else Scanned(nothing, nothing)
    batch = largest_batch(scanned.training, datasets, 1) if datasets else batch_of_options(config)
    plan = Plan(config, plugins.hook, processes, seed, datasets, scanned, weights, ())
    return told(memory_plan(plan, batch, wanted_prompts(config)), _budgets(config))


def told(plan: MemoryPlan, budgets: Sequence[int]) -> Outlook:
    """Return what there is to tell of a plan; no ``budgets``: usual cards are gone through."""
    auto = plan.stepping.run.plan.config[MemoryOptions].memory == "auto"
    step = plan.chosen(budgets[0]) if auto and budgets else plan.as_given()
    fitted = [_fitted(plan, budget) for budget in budgets or [card * GB for card in CARDS]]
    hardest = plan.chosen(min(one.budget for one in fitted))
    words = tuple(proposals(plan, hardest)) if any(not one.fits or one.treatment.swapped for one in fitted) else ()
    return Outlook(
        batch=plan.batch,
        phases=tuple(plan.phases(step)),
        reserve=plan.reserve,
        auto=auto,
        counted=step.treatment,
        blocks=tuple(step.blocks),
        fitted=tuple(fitted),
        proposals=words,
        notes=tuple(plan.notes),
    )


def _fitted(plan: MemoryPlan, budget: int) -> Fitted:
    step: StepCount = plan.chosen(budget)
    return Fitted(budget, step.treatment, plan.needed(step), effort(plan, step), tuple(reasons(plan, step, budget)))


def _budgets(config: Config) -> Sequence[int]:
    """Return the bytes of the one card that counts; none where neither a card nor a number is there."""
    if config[MemoryOptions].memory_budget is None and not torch.cuda.is_available():
        return ()
    return (budget_of(config, torch.device("cuda")),)


def _nothing() -> Index:
    """Return the index of no pictures."""
    small, large = np.empty(0, dtype=np.uint16), np.empty(0, dtype=np.uint32)
    return Index((), joined([]), (), small, large, large, small, large)
