"""What is counted before a run is what its steps take: measured by following every storage of a real run."""

from __future__ import annotations

from collections.abc import Generator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from loracore import LoracoreError, Models, Run, hookimpl
from loracore.config.prompts.wanted import wanted_prompts
from loracore.data.scanning import Scanned
from loracore.testing.measured_memory import Compared, MeasuredSteps
from loracore.training.assembly.plan import Plan
from loracore.training.planning.largest_batch import largest_batch
from loracore.training.planning.memory_plan import MemoryPlan, memory_plan
from tests.toy_runs import TrainToy

#: Of the measured peak.
TOLERANCE = 0.08


def compared(train: TrainToy, *words: str) -> Compared:
    measured = MeasuredSteps()
    train("--toy_width", "32", "--max_train_steps", "3", *words, plugin=measured)
    return measured.compared


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--gradient_checkpointing",),
        ("--checkpointed_blocks", "1"),
        ("--train_batch_size", "4", "--gradient_accumulation_steps", "2"),
        ("--optimizer_type", "SGD", "--use_ema"),
        ("--no_cache_latents",),
    ],
)
def test_the_count_is_near_what_a_run_takes(train_toy: TrainToy, words: tuple[str, ...]) -> None:
    found = compared(train_toy, *words)
    assert found.ratio == pytest.approx(1, abs=TOLERANCE), found


def test_parts_add_up_to_the_peak(train_toy: TrainToy) -> None:
    phase = compared(train_toy).counted.phase
    assert all(size > 0 for size in phase.parts.values())
    assert {"frozen weights", "adapters", "optimizer state", "kept by blocks"} <= set(phase.parts)


class Numbers:
    """An architecture's hook that needs a number from the host."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @hookimpl(tryfirst=True)
    def encode_text(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [NotImplementedError("no numbers"), TypeError("no numbers"), KeyError("no numbers")])
def test_an_architecture_that_needs_numbers_is_named(train_toy: TrainToy, error: Exception) -> None:
    with pytest.raises(LoracoreError, match=r"toy cannot be gone through without weights: .*no numbers"):
        train_toy("--memory", "auto", plugin=Numbers(error))


class Deep:
    """Gives the toy more blocks, of which the last ``idle`` are not called; keeps what a run would count."""

    def __init__(self, *, idle: int = 0) -> None:
        self.idle = idle
        self.plans: list[MemoryPlan] = []

    @hookimpl(wrapper=True)
    def load_models(self) -> Generator[None, Models, Models]:
        models = yield
        if models.denoiser is None:
            return models
        blocks: list[nn.Module] = list(models.denoiser.get_submodule("blocks").children())
        more = [deepcopy(blocks[0]) for _ in range(4)]
        if not self.idle:
            models.denoiser.blocks = nn.ModuleList([*blocks, *more])
        return replace(models, blocks={**models.blocks, "unet": (*blocks, *more)})

    @hookimpl
    def run_started(self, run: Run) -> None:
        index = run.steps.loader.index
        scanned = Scanned(index, index.take(index.repeats < 0))
        plan = Plan(run.config, run.hook, run.processes, run.seed, run.config.datasets, scanned, None, ())
        batch = largest_batch(index, run.config.datasets, 1)
        self.plans.append(memory_plan(plan, batch, wanted_prompts(run.config)))


def test_blocks_swap_where_previews_are_too_large(train_toy: TrainToy, tmp_path: Path) -> None:
    prompts, deep = tmp_path / "prompts.txt", Deep()
    prompts.write_text("a picture --w 512 --h 512\n", encoding="utf-8")
    words = ("--toy_width", "32", "--max_train_steps", "1", "--sample_prompts", str(prompts), "--sample_at_first")
    train_toy(*words, plugin=deep)
    (plan,) = deep.plans
    kept = plan.as_given()
    assert plan.phases(kept)[-2].peak == plan.needed(kept) > kept.phase.peak
    step = plan.chosen(plan.needed(kept) - 1)
    assert step.treatment.swapped == 1
    assert plan.needed(step) < plan.needed(kept)


def test_blocks_that_no_step_calls_are_named(train_toy: TrainToy) -> None:
    with pytest.raises(LoracoreError, match="toy names blocks of its denoiser that a step does not call: 2, 3, 4, 5"):
        train_toy("--memory", "auto", plugin=Deep(idle=4))
