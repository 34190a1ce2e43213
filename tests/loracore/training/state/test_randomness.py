"""What is trained and resumed does not depend on what others draw from the generators of the process."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from loracore import hookimpl
from loracore.training.run import Run
from tests.resumed_runs import assert_resumes_exactly, assert_same_state
from tests.toy_runs import TrainToy

#: Draws masks of three kinds, keeps weights in bf16, and rounds them by chance in its steps.
BY_CHANCE = (
    *("--optimizer_type", "prodigyplus.ProdigyPlusScheduleFree", "--learning_rate", "1"),
    *("--optimizer_args", "stochastic_rounding=True", "d0=0.01"),
    *("--mixed_precision", "bf16", "--full_bf16"),
)
DROPPED = ("--network_dropout", "0.3", "--network_args", "rank_dropout=0.2", "module_dropout=0.1")
KINDS = pytest.mark.parametrize("flags", [DROPPED, (*BY_CHANCE, *DROPPED)], ids=["float32", "rounded by chance"])


class Scrambler:
    """Draws between the steps whatever it likes."""

    def __init__(self) -> None:
        self._chance = random.SystemRandom()

    @hookimpl(tryfirst=True)
    def run_started(self) -> None:
        self._scramble()

    @hookimpl
    def step_done(self) -> None:
        self._scramble()

    def _scramble(self) -> None:
        random.seed(self._chance.randrange(2**32))
        np.random.seed(self._chance.randrange(2**32))  # noqa: NPY002  # the one that others may use
        torch.manual_seed(self._chance.randrange(2**32))


@KINDS
def test_what_others_draw_between_steps_changes_nothing(
    train_toy: TrainToy, tmp_path: Path, flags: Sequence[str]
) -> None:
    more = (*flags, "--save_state_on_train_end", "--output_dir")
    alone = train_toy(*more, str(tmp_path / "alone"))
    scrambled = train_toy(*more, str(tmp_path / "scrambled"), plugin=Scrambler())
    assert_same_state(alone.with_name("toy-state"), scrambled.with_name("toy-state"))


@KINDS
def test_a_resumed_run_draws_as_one_that_never_stopped(
    train_toy: TrainToy, tmp_path: Path, flags: Sequence[str]
) -> None:
    assert_resumes_exactly(train_toy, tmp_path, [2], flags)


def reseed(*_: object) -> None:
    torch.manual_seed(7)


def test_steps_do_round_by_chance(train_toy: TrainToy, tmp_path: Path) -> None:
    class Reseeded:
        """Draws in the middle of a step, where it must be noticed."""

        @hookimpl
        def run_started(self, run: Run) -> None:
            run.moving.optimizer.register_step_pre_hook(reseed)

    more = (*BY_CHANCE, "--save_state_on_train_end", "--output_dir")
    alone = train_toy(*more, str(tmp_path / "alone"))
    other = train_toy(*more, str(tmp_path / "other"), plugin=Reseeded())
    with pytest.raises(AssertionError):
        assert_same_state(alone.with_name("toy-state"), other.with_name("toy-state"))
