from __future__ import annotations

from collections.abc import Sequence

import pytest

from loracore.memory.planning.block_counts import BlockCount
from loracore.memory.planning.choosing import cheapest_blocks, choose
from loracore.memory.planning.peaks import Phase, StepCount, largest
from loracore.memory.planning.treatment import Treatment

ALL = Treatment(checkpoints_all=True)


class Steps:
    """A model of blocks that keep 10, 20, … bytes, or 1 when computed again; each holds 5 bytes of weights."""

    def __init__(self, blocks: int, *, surprise: int = 0) -> None:
        self.kept = [10 * (place + 1) for place in range(blocks)]
        self.surprise = surprise  # bytes that computing some blocks again takes beside
        self.asked: list[Treatment] = []

    def count(self, treatment: Treatment) -> StepCount:
        self.asked.append(treatment)
        again = range(len(self.kept)) if treatment.checkpoints_all else treatment.checkpointed
        kept = [1 if place in again else size for place, size in enumerate(self.kept)]
        peak = sum(kept) + 100 - 5 * treatment.swapped + (self.surprise if treatment.checkpointed else 0)
        return StepCount(treatment, Phase("steps", {"all": peak}), [BlockCount(size, 7) for size in kept], 70)

    def chosen(self, budget: int) -> Treatment:
        return choose(self.count, budget, len(self.kept) - 2).treatment


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (200, Treatment()),
        (199, Treatment(checkpointed=(3,))),
        (150, Treatment(checkpointed=(2, 3))),
        (104, ALL),
        (103, Treatment(checkpoints_all=True, swapped=1)),
        (94, Treatment(checkpoints_all=True, swapped=2)),
        (1, Treatment(checkpoints_all=True, swapped=2)),
    ],
)
def test_the_cheapest_way_that_fits_is_chosen(budget: int, expected: Treatment) -> None:
    assert Steps(4).chosen(budget) == expected


def test_more_blocks_are_taken_when_the_first_choice_is_too_small() -> None:
    assert Steps(4, surprise=25).chosen(150) == Treatment(checkpointed=(1, 2, 3))


def test_all_blocks_are_taken_when_some_never_do() -> None:
    assert Steps(4, surprise=1000).chosen(150) == ALL


def test_without_blocks_nothing_can_be_done() -> None:
    assert Steps(0).chosen(1) == Treatment()


@pytest.mark.parametrize(
    ("gains", "flops", "wanted", "expected"),
    [
        ([5, 5], [1, 9], 5, (0,)),
        ([5, 50, 5], [1, 1, 1], 51, (0, 1)),
        ([3, 100], [1, 40], 100, (1,)),  # the first gives more for its work, and is not needed in the end
        ([5, -4], [1, 1], 100, (0,)),
        ([], [], 1, ()),
    ],
)
def test_blocks_that_give_most_for_their_work_come_first(
    gains: Sequence[int], flops: Sequence[int], wanted: int, expected: tuple[int, ...]
) -> None:
    assert cheapest_blocks(gains, flops, wanted) == expected


def test_a_treatment_is_written_as_options() -> None:
    treatment = Treatment(checkpointed=(0, 2), swapped=3)
    assert str(treatment) == "checkpointed_blocks = [0, 2], blocks_to_swap = 3"
    assert str(Treatment()) == "everything kept"
    assert Treatment(checkpointed=tuple(range(13))).short == "checkpointed_blocks of 13"
    assert treatment.short == str(treatment)


def test_the_largest_phase_is_the_peak_of_a_run() -> None:
    phases = [Phase("text", {"a": 3, "b": 4}), Phase("steps", {"a": 5})]
    assert largest(phases).peak == 7
