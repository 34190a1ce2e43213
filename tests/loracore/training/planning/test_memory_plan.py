"""What is counted before a run is what its steps take: measured by following every storage of a real run."""

from __future__ import annotations

import pytest

from loracore import LoracoreError, hookimpl
from loracore.testing.measured_memory import Compared, MeasuredSteps
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

    @hookimpl(tryfirst=True)
    def encode_text(self) -> None:
        raise NotImplementedError("no numbers")


def test_an_architecture_that_needs_numbers_is_named(train_toy: TrainToy) -> None:
    with pytest.raises(LoracoreError, match="toy cannot be gone through without weights"):
        train_toy("--memory", "auto", plugin=Numbers())
